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
        own: embeddings of the trials' utterances; None without any.
        mean: their mean is subtracted, float32 [D]; None without one.

    Raises:
        TidyVoiceError: a faulty file, or embeddings of different models.
    """

    def __init__(
        self,
        embeddings: Sequence[Path],
        mean: Path | None = None,
        cohort: CohortFiles | None = None,
    ):
        tables = {str(path): load_embeddings(path) for path in embeddings}
        others = {str(path): load_embeddings(path) for path in (mean,) if path}
        if cohort:
            others[str(cohort.embeddings)] = load_embeddings(cohort.embeddings)
        same_model({**tables, **others})
        self.own = _joined(tables) if tables else None
        self._learnt = [People.named("training", *pair) for pair in _trained_on(tables)]
        self.mean = None
        if mean:
            self.mean = others[str(mean)].mean()
            self._learnt.append(_people("mean", mean, others[str(mean)]))
        self._files, self._members = cohort, None
        if cohort:
            self._members = others[str(cohort.embeddings)]
            self._speakers = read_maps([cohort.utt2spk], "speaker")
            self._learnt.append(_people("cohort", cohort.embeddings, self._members, self._speakers))
        self._paths = {"mean": mean, **(cohort.files() if cohort else {})}
        self._embeddings = embeddings

    def sources(self) -> list[Source]:
        """Return the records of the files."""
        counts = {people.source.role: people.source.speakers for people in self._learnt}
        records = [source("embeddings", path) for path in self._embeddings]
        for role, path in self._paths.items():
            records += [source(role, path, counts.get(role))] if path else []
        return records

    def check(self, guard: LeakGuard, evaluated: People) -> None:
        """Check that neither the model's training, the mean nor the cohort has these speakers."""
        for people in self._learnt:
            guard.disjoint(evaluated, people)

    def cohort(self, by_language: bool = False) -> Cohort:
        """Return the cohort: an entry for each speaker, or for each speaker and language."""
        languages = self._cohort_languages() if by_language else None
        where = str(self._files.embeddings)
        return speaker_cohort(self._members, self._speakers, self.mean, languages, where)

    def languages(self, trials: Trials, utt2lang: Sequence[Path], blind: bool) -> LanguageWeights:
        """Find the languages of a list's utterances, or guess them from those of the cohort.

        Raises:
            TidyVoiceError: not ``blind``, no file, and the ids do not contain languages.
        """
        if blind:
            spoken = self._cohort_languages()
            return language_posteriors(trials, self.own, self._members, spoken, self.mean)
        languages = languages_of(trials, read_maps(utt2lang, "language"))
        if languages is None:
            raise TidyVoiceError(
                f"{trials.source}: the ids do not contain languages. Give --utt2lang, or --blind "
                "to guess them."
            )
        return known_languages(languages)

    def _cohort_languages(self) -> dict[str, str]:
        path, files = self._files.embeddings, self._files.utt2lang
        known = read_maps([files] if files else [], "language")
        found = languages_of(every_id(self._members, str(path)), known)
        if found is None:
            raise TidyVoiceError(
                f"{path}: the ids do not contain languages. Give --cohort-utt2lang."
            )
        names = (found.names[code] for code in found.codes)
        return dict(zip(self._members.ids, names, strict=True))


def _trained_on(tables: Mapping[str, Embeddings]) -> list[tuple[str, list[str] | None]]:
    return [(path, table.trained_on) for path, table in tables.items()]


def _people(
    role: str, path: Path, table: Embeddings, utt2spk: Mapping[str, str] | None = None
) -> People:
    return People.of(role, path, every_id(table, str(path)), utt2spk)


def _joined(tables: Mapping[str, Embeddings]) -> Embeddings:
    """Join tables, given by path; the result names a model if all tables name the same."""
    if len(tables) == 1:
        return next(iter(tables.values()))
    sizes = {table.vectors.shape[1] for table in tables.values()}
    if len(sizes) > 1:
        raise TidyVoiceError(
            f"{', '.join(tables)}: embeddings of {' and '.join(map(str, sorted(sizes)))} "
            "columns. Extract all with the same model."
        )
    ids = [utterance for table in tables.values() for utterance in table.ids]
    vectors = np.concatenate([table.vectors for table in tables.values()])
    models = {table.model for table in tables.values()}
    return Embeddings(ids, vectors, model=models.pop() if len(models) == 1 else None)
