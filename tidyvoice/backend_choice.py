"""Fitting a back end to files, and choosing among several on held-out speakers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tidyvoice.errors import TidyVoiceError
from tidyvoice.evaluation.bootstrap import interval, resample
from tidyvoice.evaluation.categories import OPERATING_POINTS, POOLED, evaluate
from tidyvoice.scoring.backend import Backend
from tidyvoice.scoring.cosine import trial_scores
from tidyvoice.scoring.embeddings import Embeddings, every_id, load_embeddings, same_model
from tidyvoice.scoring.fitting import Speech, fit_backend, fit_languages, most_dimensions
from tidyvoice.scoring.groups import languages_of, read_maps, speakers_of
from tidyvoice.scoring.leaks import LeakGuard, People
from tidyvoice.scoring.provenance import describe
from tidyvoice.scoring.trials import ScoreTable, Trials, read_trials

RESAMPLES = 400
# EERs and costs below count as this much, so that ratios of two that are nearly 0 mean nothing.
LEAST = 1e-3
# Below this weight, the offsets of a cohort have little effect.
LIGHT = 0.5


@dataclass(frozen=True)
class Candidate:
    """A back end, and its metrics on held-out speakers if they were measured.

    ``cost`` is the larger one of EER and minDCF, each relative to the centred cosine's, so that the
    one is not bought with the other. Its standard error and its interval of 95 % are those over
    resamples of the speakers.
    """

    backend: Backend
    dimensions: int | None = None
    eer: float | None = None
    min_dcf: float | None = None
    cost: float | None = None
    cost_error: float | None = None
    cost_interval: tuple[float, float] | None = None

    def describe(self) -> str:
        """Return the candidate and its metrics in a line."""
        text = self.backend.title
        if self.dimensions:
            text += f", {self.dimensions} dimensions"
        if cohort := self.backend.cohort:
            text += f" (weight {cohort.weight:.2f}, {len(cohort.vectors):,} speakers)"
        if self.cost is not None:
            low, high = self.cost_interval
            text += f"; held-out speakers: EER {100 * self.eer:.2f} %, minDCF {self.min_dcf:.3f}"
            text += f", relative cost {self.cost:.2f} [{low:.2f}, {high:.2f}]"
        return text

    def to_json(self) -> dict[str, Any]:
        """Return the numbers."""
        cohort = self.backend.cohort
        names = "dimensions", "eer", "min_dcf", "cost", "cost_error", "cost_interval"
        numbers = {name: getattr(self, name) for name in names}
        return {"method": self.backend.method, "weight": cohort and cohort.weight, **numbers}

    def warnings(self) -> list[str]:
        """Return what a user should know before relying on it."""
        texts = []
        if self.cost_interval and self.cost_interval[0] < 1 <= self.cost_interval[1]:
            texts.append("the held-out speakers are too few to tell it from the centred cosine")
        if self.backend.cohort and self.backend.cohort.weight < LIGHT:
            count, weight = len(self.backend.cohort.vectors), self.backend.cohort.weight
            text = f"the halves of the cohort of {count:,} speakers agree little"
            texts.append(f"{text}: its offsets count with the weight {weight:.2f}")
        return texts


def choose(
    embeddings: Path,
    utt2spk: Sequence[Path],
    utt2lang: Sequence[Path],
    methods: Sequence[str],
    dimensions: Sequence[int],
    cohort: bool,
    held_out: Path | None,
    trials: Path | None,
    allow_overlap: bool = False,
) -> tuple[list[Candidate], list[str]]:
    """Fit a back end of each method and number of dimensions; return them, the best first.

    The centred cosine is one of them if they are compared. Also return warnings. The arguments are
    the options of ``tidyvoice fit-backend``.
    """
    table = load_embeddings(embeddings)
    listed, source = every_id(table, str(embeddings)), str(embeddings)
    speakers = speakers_of(listed, read_maps(utt2spk, "speaker"))
    if speakers is None:
        raise TidyVoiceError(f"{embeddings}: the ids do not contain speakers. Give --utt2spk.")
    speech = Speech(table, speakers, languages_of(listed, read_maps(utt2lang, "language")), source)
    grid = [(m, n) for m in methods for n in ([] if m == "centre" else dimensions) or [None]]
    warnings = []
    if len(grid) > 1:
        most = {m: most_dimensions(speech, m) for m, n in grid if n is not None}
        large = [(m, n) for m, n in grid if n is not None and n > most[m]]
        warnings = [f"{m}, {n} dimensions: at most {most[m]}" for m, n in large]
        grid = [each for each in grid if each not in large]
    if not grid:
        raise TidyVoiceError(f"--dimensions: {'; '.join(warnings)}.")
    if len(grid) > 1 and held_out is None:
        raise TidyVoiceError("several --method or --dimensions: give --held-out and --trials.")
    languages, fitted = fit_languages(speech), []
    for method, number in grid:
        fitted.append((fit_backend(speech, method, number, cohort), number))
    if held_out is not None and (cohort or "centre" not in methods):
        fitted.append((fit_backend(speech, cohort=False), None))
    fitted = [(each.model_copy(update={"languages": languages}), n) for each, n in fitted]
    if held_out is None:
        candidates = [Candidate(*pair) for pair in fitted]
        return candidates, [*candidates[0].warnings(), *warnings]
    others, guard = load_embeddings(held_out), LeakGuard(allow_overlap)
    same_model({embeddings: table, held_out: others})
    list_of_others = read_trials(trials)
    evaluated = People.of("trials", trials, list_of_others)
    guard.disjoint(evaluated, People.named("backend", embeddings, speakers.names))
    guard.disjoint(evaluated, People.named("training", held_out, others.trained_on))
    candidates = compare_on(fitted, others, list_of_others)
    return candidates, [*candidates[0].warnings(), *warnings, *map(describe, guard.remarks)]


def compare_on(
    fitted: Sequence[tuple[Backend, int | None]], embeddings: Embeddings, trials: Trials
) -> list[Candidate]:
    """Measure back ends, each with its dimensions, on labelled trials; return the best first.

    The best has the lowest sum of the cost and its standard error, so a method whose gain is
    uncertain counts less. The centred cosine has the cost 1 without an error.
    """
    speakers = speakers_of(trials)
    if speakers is None:
        raise TidyVoiceError(f"{trials.source}: the ids do not contain speakers.")

    def measure(backend: Backend) -> tuple[np.ndarray, np.ndarray]:
        table = ScoreTable(trials, trial_scores(embeddings, trials, backend))
        row = evaluate(table, None)[0]
        draws = resample(table, None, speakers, OPERATING_POINTS, RESAMPLES)[POOLED]
        return np.array([row.eer, row.min_dcf]), np.stack([draws.eer, draws.min_dcf[0]])

    def relative(ours: np.ndarray, plain: np.ndarray) -> np.ndarray:
        return (np.maximum(ours, LEAST) / np.maximum(plain, LEAST)).max(axis=0)

    value, draws = measure(Backend(mean=fitted[0][0].mean))
    chosen_by = {"chosen_by": tuple(speakers.names)} if len(fitted) > 1 else {}
    measured = []
    for backend, dimensions in fitted:
        ours, our_draws = measure(backend)
        costs = relative(our_draws, draws)
        if (between := interval(costs)) is None:
            raise TidyVoiceError(f"{trials.source}: give trials of more speakers to choose by.")
        cost, error = float(relative(ours, value)), float(np.nanstd(costs))
        marked = backend.model_copy(update=chosen_by)
        measured.append(Candidate(marked, dimensions, *map(float, ours), cost, error, between))
    return sorted(measured, key=lambda candidate: candidate.cost + candidate.cost_error)
