"""Quality measures of a list from files, with leak guard."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tidyvoice.errors import TidyVoiceError
from tidyvoice.scoring.cohort import speaker_cohort
from tidyvoice.scoring.cosine import unit_vectors
from tidyvoice.scoring.embeddings import Embeddings, load_embeddings, same_model
from tidyvoice.scoring.groups import read_maps
from tidyvoice.scoring.language_norm import language_match
from tidyvoice.scoring.leaks import LeakGuard, People
from tidyvoice.scoring.lineage import UNKNOWN, checksum, with_checksum
from tidyvoice.scoring.normalization import cohort_statistics
from tidyvoice.scoring.pipeline import CohortFiles, check_learnt, trial_languages
from tidyvoice.scoring.quality import quality_measures
from tidyvoice.scoring.trials import Trials


@dataclass(frozen=True)
class Measures:
    """The files of the quality measures; each file adds a measure, in fitting and in applying.

    Attributes:
        embeddings: raw ones, for their magnitudes and for scores against the cohort.
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

    def of(
        self, trials: Trials, people: People, guard: LeakGuard
    ) -> tuple[dict[str, np.ndarray], np.ndarray | None, dict[str, str]]:
        """Make the measures of a list.

        Args:
            people: the list's speakers, who must be in neither the training of the model, the mean
                nor the cohort.

        Returns:
            ``Features.utterance`` and ``Features.language_match``; and what must be the same for
            measures of two lists to mean the same, by role, as a step's ``how``.

        Raises:
            TidyVoiceError: a faulty file, something that one measure needs and that is not given,
                an utterance that a file lacks, a speaker of the list in the training of the model,
                the mean or the cohort, embeddings of different models.
        """
        if self.cohort and not self.embeddings:
            raise TidyVoiceError("--cohort: scores against it need --embeddings")
        if self.blind and not self.cohort:
            raise TidyVoiceError("--blind: languages are guessed from those of a --cohort")
        tables = {str(path): load_embeddings(path) for path in self.embeddings}
        own, how = None, {}
        if tables:
            own = _joined(tables)
            how["model"] = own.model or UNKNOWN
        subtracted = load_embeddings(self.mean) if self.mean else None
        check_learnt(guard, people, tables, self.mean, subtracted)
        centre = None
        if subtracted:
            tables[str(self.mean)], centre = subtracted, subtracted.mean()
        cohort_scores = match = members = spoken = None
        if self.cohort:
            members, speakers = self.cohort.load()
            same_model({**tables, str(self.cohort.embeddings): members})
            how["cohort"] = checksum(self.cohort.embeddings)
            how["mean"] = checksum(self.mean) if self.mean else "none"
            how["top_n"] = str(self.cohort.top_n)
            guard.disjoint(people, self.cohort.people(members, speakers))
            cohort = speaker_cohort(members, speakers, centre, source=str(self.cohort.embeddings))
            rows = trials.places_in(own.ids, "embedding")
            vectors = unit_vectors(own, rows, centre)
            cohort_scores = cohort_statistics(vectors, cohort, self.cohort.top_n)[0]
            spoken = self.cohort.languages(members) if self.blind else None
        if self.language_match:
            how["languages"] = "guessed" if self.blind else "known"
            languages = trial_languages(
                trials, own, members, spoken, centre, self.utt2lang, self.blind
            )
            match = language_match(languages, trials)
        found = quality_measures(trials, _seconds(self.utt2dur), own, cohort_scores)
        return found, match, how

    def files(self) -> dict[str, list[Path]]:
        """Return the files by role."""
        files = {"mean": [self.mean] if self.mean else []}
        for role in ("embeddings", "utt2dur", "utt2lang"):
            files[role] = list(getattr(self, role))
        cohort = self.cohort.files() if self.cohort else {}
        return {**files, **{role: [path] for role, path in cohort.items()}}

    def paths(self) -> list[Path]:
        """Return all files."""
        return [path for paths in self.files().values() for path in paths]

    def inputs(self) -> dict[str, str]:
        """Return the files with checksums, for the provenance."""
        return {
            role: ", ".join(map(with_checksum, paths))
            for role, paths in self.files().items()
            if paths
        }


def _joined(tables: Mapping[str, Embeddings]) -> Embeddings:
    """Join tables, given by path; the result names a model if all tables name the same."""
    same_model(tables)
    sizes = {table.vectors.shape[1] for table in tables.values()}
    if len(sizes) > 1:
        raise TidyVoiceError(
            f"{', '.join(tables)}: embeddings of {' and '.join(map(str, sorted(sizes)))} "
            "columns; extract all with the same model"
        )
    ids = [utterance for table in tables.values() for utterance in table.ids]
    vectors = np.concatenate([table.vectors for table in tables.values()])
    models = {table.model for table in tables.values()}
    return Embeddings(ids, vectors, model=models.pop() if len(models) == 1 else None)


def _seconds(paths: Sequence[Path]) -> dict[str, float] | None:
    table = read_maps(paths, "duration")
    if table is None:
        return None
    seconds = {}
    for utterance, value in table.items():
        try:
            seconds[utterance] = float(value)
        except ValueError:
            raise TidyVoiceError(
                f"{', '.join(map(str, paths))}: the duration of '{utterance}' is '{value}'; give "
                "seconds"
            ) from None
    return seconds
