"""The files that a command reads beside trials and scores: embeddings, cohort, languages, ..."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from tidyvoice.errors import TidyVoiceError, reading
from tidyvoice.scoring.cohort import Cohort, every_id, speaker_cohort
from tidyvoice.scoring.columns import more
from tidyvoice.scoring.cosine import pairwise_products, unit_vectors
from tidyvoice.scoring.embeddings import Embeddings, load_embeddings, same_model
from tidyvoice.scoring.groups import Groups, languages_of, read_maps
from tidyvoice.scoring.language_norm import LanguageWeights, known_languages, language_posteriors
from tidyvoice.scoring.leaks import LeakGuard, People
from tidyvoice.scoring.lineage import source
from tidyvoice.scoring.normalization import cohort_statistics
from tidyvoice.scoring.provenance import Source, Step
from tidyvoice.scoring.trials import Trials


@dataclass(frozen=True)
class CohortFiles:
    """A cohort on disk, and the number of highest cohort scores that count."""

    embeddings: Path
    utt2spk: Path
    utt2lang: Path | None = None
    top_n: int = 300


class Tables:
    """Embeddings of one model, with the other files that describe their utterances.

    Args:
        embeddings, utt2dur: raw embeddings and durations in seconds of the trials' utterances.
        mean: embeddings whose mean is subtracted.
        cohort: speakers to compare the trials with.
        utt2lang: languages of the trials' utterances; by default from the ids.
        blind: guess these languages from those of the cohort instead.
        language_match: measure if both sides are in the same language.

    Attributes:
        embeddings: embeddings of the trials' utterances; None without any.
        mean, averaged: the embedding to subtract, float32 [D] or None, and of how many it is.
    """

    def __init__(
        self,
        embeddings: Sequence[Path] = (),
        mean: Path | None = None,
        cohort: CohortFiles | None = None,
        utt2lang: Sequence[Path] = (),
        blind: bool = False,
        utt2dur: Sequence[Path] = (),
        language_match: bool = False,
    ):
        self.top_n = cohort.top_n if cohort else None
        self._language_match = language_match
        self._utt2lang, self._blind = utt2lang, blind
        self.language_origin = "guessed" if blind else "known"
        self._files = [("embeddings", path) for path in embeddings]
        self._files += [("mean", mean)] if mean else []
        if cohort:
            self._files += [("cohort", cohort.embeddings), ("cohort utt2spk", cohort.utt2spk)]
            self._files += [("cohort utt2lang", cohort.utt2lang)] if cohort.utt2lang else []
        read = [path for role, path in self._files if role in ("embeddings", "mean", "cohort")]
        self._files += [("utt2dur", path) for path in utt2dur]
        self._files += [("utt2lang", path) for path in utt2lang]
        self.paths = [path for _, path in self._files]
        tables = {path: load_embeddings(path) for path in dict.fromkeys(read)}
        same_model(tables)
        self.embeddings = _join({path: tables[path] for path in embeddings})
        self._people = [People.named("training", p, tables[p].trained_on) for p in embeddings]
        self.mean, self.averaged = None, 0
        if mean:
            self.mean, self.averaged = tables[mean].mean(), len(tables[mean].ids)
            self._people.append(People.of("mean", mean, every_id(tables[mean], str(mean))))
        if cohort:
            self._cohort_utt2lang = [cohort.utt2lang] if cohort.utt2lang else []
            self._members = tables[cohort.embeddings]
            self._listed = every_id(self._members, str(cohort.embeddings))
            self._speakers = read_maps([cohort.utt2spk], "speaker")
            others = People.of("cohort", cohort.embeddings, self._listed, self._speakers)
            self._people.append(others)
        self._seconds = read_maps(utt2dur, "duration")
        if self._seconds is not None:
            names, values = ", ".join(map(str, utt2dur)), pl.Series(list(self._seconds.values()))
            with reading(names, "table of durations", "give seconds"):
                self._seconds = dict(zip(self._seconds, values.cast(pl.Float64), strict=True))

    def sources(self) -> list[Source]:
        """Return the records of the files."""
        counts = {people.role: people.source.speakers for people in self._people}
        return [source(role, path, counts.get(role)) for role, path in self._files]

    def check(self, guard: LeakGuard, evaluated: People) -> None:
        """Check that neither the model's training, the mean nor the cohort has these speakers."""
        for people in self._people:
            guard.disjoint(evaluated, people)

    def cohort(self, by_language: bool = False) -> Cohort:
        """Return the cohort: an entry for each speaker, or for each speaker and language."""
        utt2lang, where = self._cohort_languages() if by_language else None, self._listed.source
        return speaker_cohort(self._members, self._speakers, self.mean, utt2lang, where)

    def languages(self, trials: Trials) -> LanguageWeights:
        """Find the languages of a list's utterances, or guess them."""
        if self._blind:
            utt2lang = self._cohort_languages()
            return language_posteriors(trials, self.embeddings, self._members, utt2lang, self.mean)
        hint = "--utt2lang, or --blind to guess them"
        return known_languages(_languages(trials, self._utt2lang, hint))

    def measures(self, trials: Trials) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
        """Return ``Features.utterance`` and ``Features.language_match`` of a list."""
        measures, match = {}, None
        if self._seconds is not None:
            places = trials.places_in(list(self._seconds), "duration")
            seconds = np.array(list(self._seconds.values()))[places]
            measures["log duration"] = _log(trials, "duration", seconds)
        if self.embeddings:
            rows = trials.places_in(self.embeddings.ids, "embedding")
            lengths = np.linalg.norm(self.embeddings.vectors.astype(np.float64), axis=1)[rows]
            measures["log magnitude"] = _log(trials, "length of the embedding", lengths)
            if self.top_n:
                vectors = unit_vectors(self.embeddings, rows, self.mean)
                moments = cohort_statistics(vectors, self.cohort(), self.top_n)
                measures["cohort score"] = moments[0]
        if self._language_match:
            # P(both sides are in one language) = sum over l of P(l | e) P(l | t)
            match = pairwise_products(self.languages(trials).weights, trials)
        return measures, match

    def step(self) -> Step:
        """Return the record of the quality measures."""
        settings = {"model": self.embeddings.model} if self.embeddings else {}
        settings |= {"top_n": self.top_n} if self.top_n else {}
        settings |= {"languages": self.language_origin} if self._language_match else {}
        return Step(step="quality measures", inputs=tuple(self.sources()), settings=settings)

    def _cohort_languages(self) -> dict[str, str]:
        languages = _languages(self._listed, self._cohort_utt2lang, "--cohort-utt2lang")
        names = (languages.names[code] for code in languages.codes)
        return dict(zip(self._members.ids, names, strict=True))


def _languages(trials: Trials, utt2lang: Sequence[Path], hint: str) -> Groups:
    languages = languages_of(trials, read_maps(utt2lang, "language"))
    if languages is None:
        raise TidyVoiceError(f"{trials.source}: the ids do not contain languages. Give {hint}.")
    return languages


def _log(trials: Trials, what: str, values: np.ndarray) -> np.ndarray:
    wrong = ~((values > 0) & np.isfinite(values))
    if wrong.any():
        place = int(np.argmax(wrong))
        which = f"the {what} of '{trials.ids[place]}' is {values[place]:g}{more(wrong.sum() - 1)}"
        raise TidyVoiceError(f"{trials.source}: {which}. It must be above 0: check the audio.")
    return np.log(values)


def _join(tables: Mapping[Path, Embeddings]) -> Embeddings | None:
    """Join tables, given by path; the model is that of all tables, else unknown."""
    if len(tables) < 2:
        return next(iter(tables.values()), None)
    ids = [utterance for table in tables.values() for utterance in table.ids]
    vectors = np.concatenate([table.vectors for table in tables.values()])
    models = {table.model for table in tables.values()}
    return Embeddings(ids, vectors, model=models.pop() if len(models) == 1 else None)
