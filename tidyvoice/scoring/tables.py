"""The tables of embeddings that one command reads: of the trials, of the mean, of the cohort."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tidyvoice.errors import TidyVoiceError
from tidyvoice.scoring.cohort import Cohort, every_id, speaker_cohort
from tidyvoice.scoring.embeddings import Embeddings, load_embeddings, same_model
from tidyvoice.scoring.groups import languages_of, read_maps
from tidyvoice.scoring.language_norm import LanguageWeights, known_languages, language_posteriors
from tidyvoice.scoring.leaks import LeakGuard, People
from tidyvoice.scoring.lineage import source
from tidyvoice.scoring.provenance import Source
from tidyvoice.scoring.trials import Trials


@dataclass(frozen=True)
class CohortFiles:
    """A cohort on disk.

    Attributes:
        embeddings: raw embeddings of its utterances.
        utt2spk: their speakers.
        utt2lang: their languages; None takes them from the ids.
        top_n: number of highest cohort scores that count.
    """

    embeddings: Path
    utt2spk: Path
    utt2lang: Path | None = None
    top_n: int = 300

    def files(self) -> dict[str, Path]:
        """Return the files by role."""
        files = {"cohort": self.embeddings, "cohort utt2spk": self.utt2spk}
        return files | ({"cohort utt2lang": self.utt2lang} if self.utt2lang else {})


class Tables:
    """Embeddings of one model.

    Attributes:
        embeddings: embeddings of the trials' utterances; None without any.
        mean: the embedding to subtract, float32 [D]; None without one.
        averaged: number of embeddings in the mean.
    """

    def __init__(
        self,
        embeddings: Sequence[Path],
        mean: Path | None = None,
        cohort: CohortFiles | None = None,
    ):
        self._files, self._cohort = embeddings, cohort
        self._paths = {"mean": mean} if mean else {}
        self._paths |= cohort.files() if cohort else {}
        read = [*embeddings, *(self._paths[r] for r in ("mean", "cohort") if r in self._paths)]
        tables = {path: load_embeddings(path) for path in dict.fromkeys(read)}
        same_model(tables)
        inputs = {path: tables[path] for path in embeddings}
        self.embeddings = _joined(inputs) if inputs else None
        self._people = [People.named("training", path, inputs[path].trained_on) for path in inputs]
        self.mean, self.averaged = None, 0
        if mean:
            self.mean, self.averaged = tables[mean].mean(), len(tables[mean].ids)
            listed = every_id(tables[mean], str(mean))
            self._people.append(People.of("mean", mean, listed))
        if cohort:
            self._members = tables[cohort.embeddings]
            self._speakers = read_maps([cohort.utt2spk], "speaker")
            listed = every_id(self._members, str(cohort.embeddings))
            self._people.append(People.of("cohort", cohort.embeddings, listed, self._speakers))

    def sources(self) -> list[Source]:
        """Return the records of the files."""
        counts = {people.source.role: people.source.speakers for people in self._people}
        paths = [*(("embeddings", path) for path in self._files), *self._paths.items()]
        return [source(role, path, counts.get(role)) for role, path in paths]

    def check(self, guard: LeakGuard, evaluated: People) -> None:
        """Check that neither the model's training, the mean nor the cohort has these speakers."""
        for people in self._people:
            guard.disjoint(evaluated, people)

    def cohort(self, by_language: bool = False) -> Cohort:
        """Return the cohort: an entry for each speaker, or for each speaker and language."""
        languages = self._cohort_languages() if by_language else None
        where = str(self._cohort.embeddings)
        return speaker_cohort(self._members, self._speakers, self.mean, languages, where)

    def languages(self, trials: Trials, utt2lang: Sequence[Path], blind: bool) -> LanguageWeights:
        """Find the languages of a list's utterances, or guess them from those of the cohort."""
        if blind:
            spoken = self._cohort_languages()
            return language_posteriors(trials, self.embeddings, self._members, spoken, self.mean)
        languages = languages_of(trials, read_maps(utt2lang, "language"))
        if languages is None:
            raise TidyVoiceError(
                f"{trials.source}: the ids do not contain languages. Give --utt2lang, or --blind "
                "to guess them."
            )
        return known_languages(languages)

    def _cohort_languages(self) -> dict[str, str]:
        path, files = self._cohort.embeddings, self._cohort.utt2lang
        mapping = read_maps([files] if files else [], "language")
        languages = languages_of(every_id(self._members, str(path)), mapping)
        if languages is None:
            raise TidyVoiceError(
                f"{path}: the ids do not contain languages. Give --cohort-utt2lang."
            )
        names = (languages.names[code] for code in languages.codes)
        return dict(zip(self._members.ids, names, strict=True))


def _joined(tables: Mapping[Path, Embeddings]) -> Embeddings:
    """Join tables, given by path; the result names a model if all tables name the same."""
    if len(tables) == 1:
        return next(iter(tables.values()))
    sizes = {table.vectors.shape[1] for table in tables.values()}
    if len(sizes) > 1:
        raise TidyVoiceError(
            f"{', '.join(map(str, tables))}: embeddings of {' and '.join(map(str, sorted(sizes)))} "
            "columns. Extract all with the same model."
        )
    ids = [utterance for table in tables.values() for utterance in table.ids]
    vectors = np.concatenate([table.vectors for table in tables.values()])
    models = {table.model for table in tables.values()}
    return Embeddings(ids, vectors, model=models.pop() if len(models) == 1 else None)
