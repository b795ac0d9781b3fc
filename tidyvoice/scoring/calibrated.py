"""Calibration and fusion from files to a score file of log-likelihood ratios."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tidyvoice.embeddings import Embeddings, load_embeddings
from tidyvoice.errors import TidyVoiceError
from tidyvoice.scoring.calibration import Fit, fit_calibration, load_calibration
from tidyvoice.scoring.cohort import speaker_cohort
from tidyvoice.scoring.cosine import unit_vectors
from tidyvoice.scoring.crossfit import cross_fit
from tidyvoice.scoring.groups import read_maps, speakers_of
from tidyvoice.scoring.language_norm import language_match
from tidyvoice.scoring.leaks import LeakGuard
from tidyvoice.scoring.lineage import (
    Step,
    read_lineage,
    steps_of,
    with_checksum,
    write_with_lineage,
)
from tidyvoice.scoring.normalization import cohort_statistics
from tidyvoice.scoring.pairs import same_trials
from tidyvoice.scoring.pipeline import CohortFiles, Made, speakers_in, trial_languages
from tidyvoice.scoring.quality import Features, Quality, quality_measures
from tidyvoice.scoring.trials import Trials, read_scores


@dataclass(frozen=True)
class Measures:
    """The files of the quality measures; those given are used, for fitting as for applying.

    Attributes:
        embeddings: raw ones, for their magnitudes, and for what the cohort is asked.
        utt2dur: durations in seconds.
        language_match: whether both sides are in the same language.
        utt2lang: languages, for that; else read off the ids.
        blind: guess the languages from those of the cohort instead.
        cohort: each side's mean score against it.
        mean: embeddings whose mean is subtracted before a score against the cohort.
    """

    embeddings: Sequence[Path] = ()
    utt2dur: Sequence[Path] = ()
    language_match: bool = False
    utt2lang: Sequence[Path] = ()
    blind: bool = False
    cohort: CohortFiles | None = None
    mean: Path | None = None

    def of(self, trials: Trials) -> Quality | None:
        """The measures of a list; None if there are none.

        Raises:
            TidyVoiceError: a faulty file, something that one measure needs and that is not given,
                an utterance that a file lacks.
        """
        if self.cohort and not self.embeddings:
            raise TidyVoiceError("--cohort: scores against it need --embeddings")
        if self.blind and not self.cohort:
            raise TidyVoiceError("--blind: languages are guessed from those of a --cohort")
        own = _joined(self.embeddings) if self.embeddings else None
        centre = load_embeddings(self.mean).mean() if self.mean else None
        cohort_scores = match = members = minded = None
        if self.cohort:
            members, speakers = self.cohort.load()
            cohort = speaker_cohort(members, speakers, centre, source=str(self.cohort.embeddings))
            rows = trials.places_in(own.ids, "embedding")
            vectors = unit_vectors(own, rows, centre)
            cohort_scores = cohort_statistics(vectors, cohort, self.cohort.top_n)[0]
            minded = self.cohort.languages(members) if self.blind else None
        if self.language_match:
            languages = trial_languages(
                trials, own, members, minded, centre, self.utt2lang, self.blind
            )
            match = language_match(languages, trials)
        seconds = _seconds(self.utt2dur)
        given = (seconds, own, cohort_scores, match)
        if all(value is None for value in given):
            return None
        return quality_measures(
            trials,
            seconds=seconds,
            embeddings=own,
            cohort=cohort_scores,
            language_match=match,
        )

    def inputs(self) -> dict[str, str]:
        """For the lineage."""
        files = {"mean": [self.mean] if self.mean else []}
        for role in ("embeddings", "utt2dur", "utt2lang"):
            files[role] = list(getattr(self, role))
        found = {
            role: ", ".join(map(with_checksum, paths)) for role, paths in files.items() if paths
        }
        return {**found, **(self.cohort.inputs() if self.cohort else {})}


def calibrate_scores(
    fit: Sequence[Path],
    apply: Sequence[Path],
    out: Path,
    measures: Measures | None = None,
    how: Fit | None = None,
    save: Path | None = None,
    utt2spk: Sequence[Path] = (),
    in_sample: bool = False,
) -> Made:
    """Fit a calibration on labelled scores, and apply it to others.

    Args:
        fit, apply: one score file a system, in the same order.
        save: where the calibration is kept.
        utt2spk: speakers of both lists, for the leak guard; else read off the ids.

    Raises:
        TidyVoiceError: a faulty file, lists that differ between the systems, speakers that are
            both fitted on and evaluated; see ``fit_calibration``.
    """
    measures, guard = measures or Measures(), LeakGuard(in_sample)
    known, asked = _features(fit, measures), _features(apply, measures)
    speakers = speakers_in(known.trials, utt2spk)
    guard.disjoint(
        f"the trials of {apply[0]}", speakers_in(asked.trials, utt2spk),
        f"the calibration trials of {fit[0]}", speakers,
    )  # fmt: skip
    notes = {"scores": [str(path) for path in fit], "speakers": speakers}
    made = fit_calibration(known, how, notes)
    if save:
        made.save(save)
    for path in fit:
        lineage = read_lineage(path)
        guard.in_sample += lineage.in_sample if lineage else []
    text = (
        f"{_name(apply)} fitted to {len(known.trials):,} trials of {', '.join(map(str, fit))} on "
        f"{', '.join(made.names)}; prior {made.prior:g}"
    )
    inputs = {"fitted to": ", ".join(map(str, fit)), **measures.inputs()}
    return _write(out, apply, asked, made.apply(asked), text, inputs, guard)


def apply_calibration(
    calibration: Path,
    apply: Sequence[Path],
    out: Path,
    measures: Measures | None = None,
    utt2spk: Sequence[Path] = (),
    in_sample: bool = False,
) -> Made:
    """Apply a saved calibration, which knows the speakers that it was fitted to.

    Raises:
        TidyVoiceError: a faulty file, other features than those of the fit, or speakers that are
            both fitted on and evaluated.
    """
    measures, guard = measures or Measures(), LeakGuard(in_sample)
    asked, made = _features(apply, measures), load_calibration(calibration)
    guard.disjoint(
        f"the trials of {apply[0]}", speakers_in(asked.trials, utt2spk),
        f"the calibration {calibration}", made.notes.get("speakers"),
    )  # fmt: skip
    text = f"{_name(apply)} of {calibration} on {', '.join(made.names)}; prior {made.prior:g}"
    inputs = {"calibration": with_checksum(calibration), **measures.inputs()}
    return _write(out, apply, asked, made.apply(asked), text, inputs, guard)


def cross_calibrate(
    scores: Sequence[Path],
    out: Path,
    folds: int = 5,
    measures: Measures | None = None,
    how: Fit | None = None,
    utt2spk: Sequence[Path] = (),
) -> Made:
    """Calibrate labelled scores by fits to their own other speakers.

    For a model that was trained on every speaker that could have been held out.

    Raises:
        TidyVoiceError: a faulty file, speakers that are not known; see ``cross_fit``.
    """
    measures, guard = measures or Measures(), LeakGuard()
    features = _features(scores, measures)
    speakers = speakers_of(features.trials, read_maps(utt2spk, "speaker"))
    if speakers is None:
        raise TidyVoiceError(f"{scores[0]}: its ids tell no speaker; give --utt2spk")
    values = cross_fit(features, speakers.codes, folds, how)
    text = (
        f"{_name(scores)} by cross-fitting over {folds} folds of {len(speakers.names):,} speakers "
        f"on {', '.join(features.names)}; prior {(how or Fit()).prior:g}"
    )
    return _write(out, scores, features, values, text, measures.inputs(), guard)


def _features(paths: Sequence[Path], measures: Measures) -> Features:
    first, *others = (read_scores(path) for path in paths)
    for other in others:
        same_trials(first.trials, other.trials)
    scores = [first.scores, *(other.scores for other in others)]
    return Features(first.trials, scores, measures.of(first.trials))


def _write(
    out: Path,
    paths: Sequence[Path],
    features: Features,
    values: np.ndarray,
    text: str,
    inputs: dict[str, str],
    guard: LeakGuard,
) -> Made:
    if len(paths) == 1:
        before, kind = steps_of(paths[0]), "calibration"
    else:
        before, kind = (), "fusion"
        for number, path in enumerate(paths, 1):
            steps = steps_of(path)
            inputs[f"system {number}"] = "; ".join([str(path), *(step.text for step in steps)])
            guard.in_sample += [said for step in steps for said in step.in_sample]
    step = Step(kind, text, inputs, tuple(dict.fromkeys(guard.in_sample)), tuple(guard.unchecked))
    write_with_lineage(out, features.trials, values, [*before, step])
    return Made(out, len(features.trials), step)


def _name(paths: Sequence[Path]) -> str:
    return "calibration" if len(paths) == 1 else f"fusion of {', '.join(map(str, paths))}"


def _joined(paths: Sequence[Path]) -> Embeddings:
    tables = [load_embeddings(path) for path in paths]
    sizes = {table.vectors.shape[1] for table in tables}
    if len(sizes) > 1:
        raise TidyVoiceError(
            f"{', '.join(map(str, paths))}: embeddings of {' and '.join(map(str, sorted(sizes)))} "
            "columns; extract all with the same model"
        )
    ids = [utterance for table in tables for utterance in table.ids]
    return Embeddings(ids, np.concatenate([table.vectors for table in tables]))


def _seconds(paths: Sequence[Path]) -> dict[str, float] | None:
    table = read_maps(paths, "duration")
    if table is None:
        return None
    try:
        return {utterance: float(value) for utterance, value in table.items()}
    except ValueError as error:
        raise TidyVoiceError(f"{', '.join(map(str, paths))}: {error}") from None
