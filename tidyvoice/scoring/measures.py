"""Quality measures of a list from files, with leak guard."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from tidyvoice.errors import TidyVoiceError
from tidyvoice.scoring.cosine import unit_vectors
from tidyvoice.scoring.groups import read_maps
from tidyvoice.scoring.language_norm import language_match
from tidyvoice.scoring.lineage import source
from tidyvoice.scoring.normalization import cohort_statistics
from tidyvoice.scoring.provenance import Source, Step
from tidyvoice.scoring.quality import quality_measures
from tidyvoice.scoring.tables import CohortFiles, Tables
from tidyvoice.scoring.trials import Trials


@dataclass(frozen=True)
class Measures:
    """The files of the quality measures; each file adds a measure, in fitting and in applying.

    Attributes:
        embeddings: raw embeddings, for their magnitudes and for scores against the cohort.
        utt2dur: durations in seconds.
        language_match: measure if both sides are in the same language.
        utt2lang: languages for ``language_match``; by default from the ids.
        blind: guess the languages from those of the cohort instead.
        cohort: cohort for each side's mean score.
        mean: embeddings whose mean is subtracted before a score against the cohort.
    """

    embeddings: Sequence[Path] = ()
    utt2dur: Sequence[Path] = ()
    language_match: bool = False
    utt2lang: Sequence[Path] = ()
    blind: bool = False
    cohort: CohortFiles | None = None
    mean: Path | None = None

    def paths(self) -> list[Path]:
        """Return all files."""
        cohort = self.cohort.files().values() if self.cohort else ()
        mean = [self.mean] if self.mean else []
        return [*self.embeddings, *self.utt2dur, *self.utt2lang, *cohort, *mean]

    @cached_property
    def tables(self) -> Tables:
        """The embeddings, read once for both lists."""
        if self.cohort and not self.embeddings:
            raise TidyVoiceError("--cohort: scores against a cohort need --embeddings.")
        if self.blind and not self.cohort:
            raise TidyVoiceError("--blind: languages are guessed from those of a --cohort.")
        return Tables(self.embeddings, self.mean, self.cohort)

    @cached_property
    def _seconds(self) -> dict[str, float] | None:
        table, seconds = read_maps(self.utt2dur, "duration"), {}
        if table is None:
            return None
        for utterance, value in table.items():
            try:
                seconds[utterance] = float(value)
            except ValueError:
                raise TidyVoiceError(
                    f"{', '.join(map(str, self.utt2dur))}: the duration of '{utterance}' is "
                    f"'{value}'. Give seconds."
                ) from None
        return seconds

    def of(self, trials: Trials) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
        """Return ``Features.utterance`` and ``Features.language_match`` of a list."""
        tables, cohort_scores, match = self.tables, None, None
        if self.cohort:
            rows = trials.places_in(tables.embeddings.ids, "embedding")
            vectors = unit_vectors(tables.embeddings, rows, tables.mean)
            cohort_scores = cohort_statistics(vectors, tables.cohort(), self.cohort.top_n)[0]
        if self.language_match:
            match = language_match(tables.languages(trials, self.utt2lang, self.blind), trials)
        return quality_measures(trials, self._seconds, tables.embeddings, cohort_scores), match

    def step(self) -> Step:
        """Return the record of the files and settings."""
        settings = {"model": self.tables.embeddings.model} if self.tables.embeddings else {}
        if self.cohort:
            settings["top_n"] = self.cohort.top_n
        if self.language_match:
            settings["languages"] = "guessed" if self.blind else "known"
        maps = (("utt2dur", self.utt2dur), ("utt2lang", self.utt2lang))
        inputs: list[Source] = self.tables.sources()
        inputs += [source(role, path) for role, paths in maps for path in paths]
        return Step(step="quality measures", inputs=tuple(inputs), settings=settings)
