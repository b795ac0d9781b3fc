"""Calibrate and fuse from score files to a score file of log-likelihood ratios."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tidyvoice.errors import TidyVoiceError, TidyVoiceWarning
from tidyvoice.scoring.calibration import Fit, fit_calibration, load_calibration
from tidyvoice.scoring.crossfit import cross_fit
from tidyvoice.scoring.groups import read_maps, speakers_of
from tidyvoice.scoring.leaks import LeakGuard, People, without_names
from tidyvoice.scoring.lineage import (
    UNKNOWN,
    UNKNOWN_ORIGIN,
    Lineage,
    Step,
    read_lineage,
    refuse_to_lose,
    with_checksum,
)
from tidyvoice.scoring.measures import Measures
from tidyvoice.scoring.pairs import same_trials
from tidyvoice.scoring.pipeline import BY_LANGUAGE, Made, write_made
from tidyvoice.scoring.quality import TELLING, Features, separation
from tidyvoice.scoring.trials import ScoreTable, read_scores

# What a lineage of an earlier version does not say of a step.
NOT_ALWAYS_KEPT = {"cosine": {"model": UNKNOWN}, BY_LANGUAGE: {"languages": UNKNOWN}}
# The option that adds a measure, by how the measure's name ends.
OPTIONS = {
    "duration": "--utt2dur",
    "magnitude": "--embeddings",
    "cohort score": "--cohort",
    "language match": "--language-match",
}


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
    for path in fit:
        _inherit(guard, read_lineage(path))
    notes = {
        "scores": [str(path) for path in fit],
        "made_by": made_by,
        "measures": measured_by,
        "speakers": fitted.names and sorted(fitted.names),
        "in_sample": list(guard.in_sample),
        "unchecked": list(guard.unchecked),
        "confounded": list(guard.confounded),
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
    in_sample = map(without_names, made.notes.get("in_sample", []))
    guard.inherit(in_sample, *(made.notes.get(key, []) for key in ("unchecked", "confounded")))
    if "confounded" not in made.notes and made.notes.get("measures"):
        guard.note(
            f"the calibration {calibration} against its quality measures: it does not say whether "
            "one alone separated targets from non-targets"
        )
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
    features = Features(trials, scores, found, match)
    _check_measures(features, people.what, guard)
    return features, people, how


def _check_measures(features: Features, what: str, guard: LeakGuard) -> None:
    """Record quality measures that alone separate a list's targets from its non-targets; warn.

    A fit takes such a measure for the answer, which it is on no other list.
    """
    if len(features.names) == len(features.scores):
        return
    areas = separation(features)
    if areas is None:
        guard.note(
            f"{what} against the quality measures: without labels of both kinds, whether one "
            "alone separates them is not known"
        )
        return
    telling = {name: area for name, area in areas.items() if area > TELLING}
    if not telling:
        return
    listed = ", ".join(f"{name} {area:.2f}" for name, area in telling.items())
    said = (
        f"quality measures alone separate targets from non-targets in {what}: area under the ROC "
        f"curve {listed} (uninformative: 0.50)"
    )
    guard.inherit((), (), [said])
    options = [option for end, option in OPTIONS.items() if any(n.endswith(end) for n in telling)]
    warnings.warn(
        f"{said}; leave {' and '.join(options)} out, or use trials whose targets and non-targets "
        "do not differ in this",
        TidyVoiceWarning,
        stacklevel=4,
    )


def _inherit(guard: LeakGuard, lineage: Lineage) -> None:
    guard.inherit(lineage.in_sample, lineage.unchecked, lineage.confounded)


def _made_by(path: Path) -> list:
    """Return the steps that decide what scores mean."""
    steps = read_lineage(path).steps
    return [[step.step, {**NOT_ALWAYS_KEPT.get(step.step, {}), **step.how}] for step in steps]


def _compare(
    fitted: Sequence[list | None], source: Path, apply: Sequence[Path], guard: LeakGuard
) -> None:
    """Check that each system's scores were made as the scores of the fit.

    Where the origin of either is unknown, their last steps are compared.

    Raises:
        TidyVoiceError: the number of systems, or the way their scores were made, differs.
    """
    if len(fitted) != len(apply):
        raise TidyVoiceError(
            f"{source}: fitted to the scores of {len(fitted)} systems, {len(apply)} are given "
            f"({', '.join(map(str, apply))}); give those of the same systems, in the same order"
        )
    for before, path in zip(fitted, apply, strict=True):
        both = [_made_by(path), before or [[UNKNOWN_ORIGIN, {}]]]
        known = [[step for step in made if step[0] != UNKNOWN_ORIGIN] for made in both]
        if known != both:
            guard.note(f"{path} against {source}: how both were made is not known")
            common = min(map(len, known))
            known = [made[len(made) - common :] for made in known]
        _same_way(path, known[0], source, known[1], guard)


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
    lineages = list(map(read_lineage, paths))
    if len(paths) == 1:
        before, kind = lineages[0].steps, "calibration"
    else:
        # What is not known of one system is not known of their fusion.
        before = [lineage.steps[0] for lineage in lineages if not lineage.known][:1]
        kind = "fusion"
        for number, (path, lineage) in enumerate(zip(paths, lineages, strict=True), 1):
            texts = (step.text for step in lineage.steps)
            inputs[f"system {number}"] = "; ".join([str(path), *texts])
            _inherit(guard, lineage)
    step = Step(
        kind,
        text,
        inputs,
        tuple(guard.in_sample),
        tuple(guard.unchecked),
        confounded=tuple(guard.confounded),
    )
    return write_made(out, ScoreTable(features.trials, values), [*before, step])


def _name(paths: Sequence[Path]) -> str:
    return "calibration" if len(paths) == 1 else f"fusion of {', '.join(map(str, paths))}"
