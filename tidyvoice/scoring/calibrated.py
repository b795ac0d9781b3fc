"""Calibrate and fuse from score files to a score file of log-likelihood ratios."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tidyvoice.errors import TidyVoiceError
from tidyvoice.scoring.calibration import Fit, fit_calibration, load_calibration
from tidyvoice.scoring.crossfit import cross_fit
from tidyvoice.scoring.groups import read_maps, speakers_of
from tidyvoice.scoring.leaks import LeakGuard, People
from tidyvoice.scoring.lineage import (
    UNKNOWN,
    Step,
    refuse_to_lose,
    steps_of,
    with_checksum,
    write_with_lineage,
)
from tidyvoice.scoring.measures import Measures
from tidyvoice.scoring.pairs import same_trials
from tidyvoice.scoring.pipeline import BY_LANGUAGE, Made
from tidyvoice.scoring.quality import Features
from tidyvoice.scoring.trials import ScoreTable, read_scores

# What a lineage of an earlier version does not say of a step.
NOT_ALWAYS_KEPT = {"cosine": {"model": UNKNOWN}, BY_LANGUAGE: {"languages": UNKNOWN}}


def calibrate_scores(
    fit: Sequence[Path],
    apply: Sequence[Path],
    out: Path,
    measures: Measures,
    how: Fit,
    save: Path | None = None,
    utt2spk: Sequence[Path] = (),
    in_sample: bool = False,
) -> Made:
    """Fit a calibration on labelled scores, and apply it to others.

    Args:
        fit, apply: one score file a system, in the same order.
        save: file for the calibration.
        utt2spk: speakers of both lists, for the leak guard; by default from the ids.

    Raises:
        TidyVoiceError: a faulty file, lists that differ between the systems, speakers that are
            both fitted on and evaluated; see ``fit_calibration``.
    """
    refuse_to_lose(out, [*fit, *apply, *measures.paths(), *utt2spk], save)
    guard, names = LeakGuard(in_sample), read_maps(utt2spk, "speaker")
    made_by = [_made_by(path) for path in fit]
    _compare(made_by, fit[0], apply, guard)
    known, fitted, measured_by = _features(fit, "the calibration trials of", measures, names, guard)
    asked, people, _ = _features(apply, "the trials of", measures, names, guard)
    guard.disjoint(people, fitted)
    for step in (step for path in fit for step in steps_of(path)):
        guard.inherit(step.in_sample, step.unchecked)
    notes = {
        "scores": [str(path) for path in fit],
        "made_by": made_by,
        "measures": measured_by,
        "speakers": fitted.names and sorted(fitted.names),
        "in_sample": list(guard.in_sample),
        "unchecked": list(guard.unchecked),
    }
    made = fit_calibration(known, how, notes)
    if save:
        made.save(save)
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
    measures: Measures,
    utt2spk: Sequence[Path] = (),
    in_sample: bool = False,
) -> Made:
    """Apply a saved calibration; it records the speakers of its fit.

    Raises:
        TidyVoiceError: a faulty file, other features than those of the fit or made otherwise, an
            output that would replace what is read, speakers that are both fitted on and evaluated.
    """
    refuse_to_lose(out, [calibration, *apply, *measures.paths(), *utt2spk])
    guard, names = LeakGuard(in_sample), read_maps(utt2spk, "speaker")
    made = load_calibration(calibration)
    _compare(made.notes.get("made_by", [None] * len(apply)), calibration, apply, guard)
    asked, people, measured_by = _features(apply, "the trials of", measures, names, guard)
    now, before = (
        [["quality measures", how]] for how in (measured_by, made.notes.get("measures", {}))
    )
    _same_way(apply[0], now, calibration, before, guard)
    guard.disjoint(
        people, People.named(f"the calibration {calibration}", made.notes.get("speakers"))
    )
    guard.inherit(made.notes.get("in_sample", []), made.notes.get("unchecked", []))
    text = f"{_name(apply)} of {calibration} on {', '.join(made.names)}; prior {made.prior:g}"
    inputs = {"calibration": with_checksum(calibration), **measures.inputs()}
    return _write(out, apply, asked, made.apply(asked), text, inputs, guard)


def cross_calibrate(
    scores: Sequence[Path],
    out: Path,
    folds: int,
    measures: Measures,
    how: Fit,
    utt2spk: Sequence[Path] = (),
    in_sample: bool = False,
) -> Made:
    """Calibrate labelled scores by cross-fitting over their own speakers.

    Use it for a model whose training left no other speakers for a calibration.

    Raises:
        TidyVoiceError: a faulty file, speakers that are not known; see ``cross_fit``.
    """
    refuse_to_lose(out, [*scores, *measures.paths(), *utt2spk])
    guard, names = LeakGuard(in_sample), read_maps(utt2spk, "speaker")
    features, *_ = _features(scores, "the trials of", measures, names, guard)
    speakers = speakers_of(features.trials, names)
    if speakers is None:
        raise TidyVoiceError(f"{scores[0]}: its ids tell no speaker; give --utt2spk")
    values = cross_fit(features, speakers.codes, folds, how)
    text = (
        f"{_name(scores)} by cross-fitting over {folds} folds of {len(speakers.names):,} speakers "
        f"on {', '.join(features.names)}; prior {how.prior:g}"
    )
    return _write(out, scores, features, values, text, measures.inputs(), guard)


def _features(
    paths: Sequence[Path],
    what: str,
    measures: Measures,
    utt2spk: Mapping[str, str] | None,
    guard: LeakGuard,
) -> tuple[Features, People, dict[str, str]]:
    """Return the features of the systems' common list, its speakers, and how measures are made."""
    table = read_scores(paths[0])
    trials, scores = table.trials, [table.scores]
    for path in paths[1:]:
        other = read_scores(path)
        same_trials(trials, other.trials)
        scores.append(other.scores)
    people = People.of(f"{what} {paths[0]}", trials, utt2spk)
    found, match, how = measures.of(trials, people, guard)
    return Features(trials, scores, found, match), people, how


def _made_by(path: Path) -> list | None:
    """Return the steps that decide what scores mean; None if they are not known."""
    steps = steps_of(path)
    if not steps:
        return None
    return [[step.step, {**NOT_ALWAYS_KEPT.get(step.step, {}), **step.how}] for step in steps]


def _compare(
    fitted: Sequence[list | None], source: Path, apply: Sequence[Path], guard: LeakGuard
) -> None:
    """Check that each system's scores were made as the scores of the fit.

    Raises:
        TidyVoiceError: the number of systems, or the way their scores were made, differs.
    """
    if len(fitted) != len(apply):
        raise TidyVoiceError(
            f"{source}: fitted to the scores of {len(fitted)} systems, {len(apply)} are given "
            f"({', '.join(map(str, apply))}); give those of the same systems, in the same order"
        )
    for before, path in zip(fitted, apply, strict=True):
        now = _made_by(path)
        if before is None or now is None:
            guard.note(f"{path} against {source}: how both were made is not known")
        else:
            _same_way(path, now, source, before, guard)


def _same_way(path: Path, now: list, source: Path, before: list, guard: LeakGuard) -> None:
    """Check that two lists of [step, how] agree, as far as both are known.

    Raises:
        TidyVoiceError: the steps differ, or a value that is known of both.
    """
    same = [name for name, _ in now] == [name for name, _ in before]
    for (name, ours), (_, theirs) in zip(now, before, strict=False):
        for role in sorted({*ours, *theirs}):
            values = {how.get(role, UNKNOWN) for how in (ours, theirs)}
            if UNKNOWN not in values:
                same &= len(values) == 1
            else:
                said = f"whether the {role} of {name} is the same is not known"
                guard.note(f"{path} against {source}: {said}")
    if not same:
        raise TidyVoiceError(
            f"{path} was made by {_words(now)}, but {source} is fitted to what was made by "
            f"{_words(before)}; treat both lists alike, and give the systems in the same order"
        )


def _words(steps: list) -> str:
    done = []
    for name, how in steps:
        settings = ", ".join(f"{key} {value[:12]}" for key, value in sorted(how.items()))
        done.append(f"{name} ({settings})" if settings else name)
    return ", ".join(done)


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
            guard.inherit(said for step in steps for said in step.in_sample)
    step = Step(kind, text, inputs, tuple(guard.in_sample), tuple(guard.unchecked))
    write_with_lineage(out, ScoreTable(features.trials, values), [*before, step])
    return Made(out, len(features.trials), step)


def _name(paths: Sequence[Path]) -> str:
    return "calibration" if len(paths) == 1 else f"fusion of {', '.join(map(str, paths))}"
