"""The files that a command reads beside trials and scores: embeddings, back end, durations, ..."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from tidyvoice.errors import TidyVoiceError, reading
from tidyvoice.scoring.backend import Backend, Voices
from tidyvoice.scoring.columns import more
from tidyvoice.scoring.cosine import pair_scores
from tidyvoice.scoring.embeddings import Embeddings, every_id, load_embeddings, same_model
from tidyvoice.scoring.groups import languages_of, read_maps, same_language
from tidyvoice.scoring.leaks import LeakGuard, People
from tidyvoice.scoring.lineage import source
from tidyvoice.scoring.normalization import speaker_cohort
from tidyvoice.scoring.provenance import Source, Step
from tidyvoice.scoring.trials import Trials


@dataclass(frozen=True)
class Measures:
    """Quality measures to take of trials; the other files are those of ``Tables``.

    ``languages`` measures how alike the languages of both sides are: "known" ones, "guessed" ones,
    or language embeddings in a table. ``utt2lang`` has known ones that the ids do not contain.
    """

    utt2dur: Sequence[Path] = ()
    magnitude: bool = False
    languages: str | None = None
    utt2lang: Sequence[Path] = ()


class Tables:
    """Embeddings of one model, with the other files that describe their utterances.

    Args:
        embeddings: raw embeddings of the trials' utterances.
        mean: embeddings whose mean is subtracted.
        backend: file of a back end, in place of the mean.
        cohort: embeddings of speakers to compare the trials with, and their utt2spk.

    Attributes:
        embeddings: embeddings of the trials' utterances; None without any.
        backend: how they are compared.
        averaged: of how many embeddings the mean is.
        cohort: its speakers, see ``speaker_cohort``; None without a cohort.
        cohort_source: its file, for error messages.
    """

    def __init__(
        self,
        embeddings: Sequence[Path] = (),
        mean: Path | None = None,
        backend: Path | None = None,
        cohort: tuple[Path, Path] | None = None,
        measures: Measures | None = None,
    ):
        if mean and backend:
            raise TidyVoiceError("give --mean or --backend: a back end subtracts its own mean.")
        self._measures = measures or Measures()
        self._files = [("embeddings", path) for path in embeddings]
        self._files += [
            (role, path) for role, path in (("mean", mean), ("backend", backend)) if path
        ]
        if cohort:
            self._files += [("cohort", cohort[0]), ("cohort utt2spk", cohort[1])]
        read = [path for role, path in self._files if role in ("embeddings", "mean", "cohort")]
        self._language_table = None
        if self._measures.languages not in (None, "known", "guessed"):
            self._language_table = Path(self._measures.languages)
            self._files.append(("language embeddings", self._language_table))
        self._files += [("utt2dur", path) for path in self._measures.utt2dur]
        self._files += [("utt2lang", path) for path in self._measures.utt2lang]
        self.paths = [path for _, path in self._files]
        tables = {path: load_embeddings(path) for path in dict.fromkeys(read)}
        same_model(tables)
        self.embeddings = _join({path: tables[path] for path in embeddings})
        self._people = [People.named("training", p, tables[p].trained_on) for p in embeddings]
        self.backend, self.averaged = Backend(), 0
        if mean:
            self.backend = Backend(mean=tables[mean].mean())
            self.averaged = len(tables[mean].ids)
            self._people.append(People.of("mean", mean, every_id(tables[mean], str(mean))))
        if backend:
            self.backend = Backend.load(backend)
            self._people.append(People.named("backend", backend, self.backend.speakers))
            models = {table.model for table in tables.values()} | {self.backend.model}
            if len(models - {None}) > 1:
                fix = "Fit it to embeddings of this model."
                raise TidyVoiceError(f"{backend} belongs to another model than {read[0]}. {fix}")
        self.cohort: Embeddings | None = None
        if cohort:
            members, utt2spk = tables[cohort[0]], read_maps(cohort[1:], "speaker")
            where = self.cohort_source = str(cohort[0])
            self._people.append(People.of("cohort", where, every_id(members, where), utt2spk))
            self.cohort = speaker_cohort(members, utt2spk, self.backend.mean, where)
        self._seconds = read_maps(self._measures.utt2dur, "duration")
        if self._seconds is not None:
            names = ", ".join(map(str, self._measures.utt2dur))
            values = pl.Series(list(self._seconds.values()))
            with reading(names, "table of durations", "give seconds"):
                self._seconds = dict(zip(self._seconds, values.cast(pl.Float64), strict=True))

    def sources(self) -> list[Source]:
        """Return the records of the files."""
        counts = {people.role: people.source.speakers for people in self._people}
        return [source(role, path, counts.get(role)) for role, path in self._files]

    def check(self, guard: LeakGuard, evaluated: People) -> None:
        """Check that neither model, mean, back end nor cohort has seen these speakers."""
        for people in self._people:
            guard.disjoint(evaluated, people)

    def measures(self, trials: Trials) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
        """Return ``Features.utterance`` and ``Features.language_similarity`` of a list."""
        measures = {}
        if self._seconds is not None:
            places = trials.places_in(list(self._seconds), "duration")
            seconds = np.array(list(self._seconds.values()))[places]
            measures["log duration"] = _log(trials, "duration", seconds)
        if self._measures.magnitude:
            rows = trials.places_in(self.embeddings.ids, "embedding")
            lengths = np.linalg.norm(self.embeddings.vectors.astype(np.float64), axis=1)[rows]
            measures["log magnitude"] = _log(trials, "length of the embedding", lengths)
        if self._measures.languages is None:
            return measures, None
        return measures, self._language_similarity(trials)

    def known_similarity(self, trials: Trials) -> np.ndarray | None:
        """Return which trials are within a language, float32 [T]; None if that is not known."""
        languages = languages_of(trials, read_maps(self._measures.utt2lang, "language"))
        return None if languages is None else same_language(trials, languages).astype(np.float32)

    def step(self) -> Step:
        """Return the record of the quality measures."""
        settings = {"model": self.embeddings.model} if self.embeddings else {}
        if self._measures.languages:
            kind = "given" if self._language_table else self._measures.languages
            settings |= {"languages": kind}
        return Step(step="quality measures", inputs=tuple(self.sources()), settings=settings)

    def _language_similarity(self, trials: Trials) -> np.ndarray:
        """Return how alike the languages of both sides are, [T]: 1 or 0 if they are known.

        Language embeddings are compared by the cosine, and probabilities by the Bhattacharyya
        coefficient: the product of √p. It also compares languages that the classifier does not
        know, by the known ones that they resemble.
        """
        if self._language_table:
            table = load_embeddings(self._language_table)
            rows = trials.places_in(table.ids, "language embedding")
            return pair_scores(Backend().voices(table, rows), trials)
        if self._measures.languages == "guessed":
            if self.backend.languages is None:
                fix = "Fit it with --utt2lang to speakers of two or more languages"
                raise TidyVoiceError(f"--backend: it does not guess languages. {fix}.")
            rows = trials.places_in(self.embeddings.ids, "embedding")
            units = self.backend.centre(self.embeddings.vectors[rows])
            roots = np.sqrt(self.backend.languages.posteriors(units))
            return pair_scores(Voices(roots, np.zeros(len(roots))), trials)
        similarity = self.known_similarity(trials)
        if similarity is None:
            fix = "Give --utt2lang, or --languages guessed"
            raise TidyVoiceError(f"{trials.source}: the ids do not contain languages. {fix}.")
        return similarity


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
    ids: list[str] = []
    for path, table in tables.items():
        if twice := sorted(set(ids) & set(table.ids)):
            fix = "Keep one of the two."
            raise TidyVoiceError(f"{path}: another table has an embedding of '{twice[0]}'. {fix}")
        ids += table.ids
    vectors = np.concatenate([table.vectors for table in tables.values()])
    models = {table.model for table in tables.values()}
    return Embeddings(ids, vectors, model=models.pop() if len(models) == 1 else None)
