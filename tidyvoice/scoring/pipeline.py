"""From files to a score file, with leak guard and provenance: score, normalise, calibrate, fuse."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tidyvoice.errors import TidyVoiceError
from tidyvoice.scoring import lineage
from tidyvoice.scoring.calibration import (
    PRIOR,
    Calibration,
    Features,
    Origin,
    check_measures,
    cross_fit,
    fit_calibration,
)
from tidyvoice.scoring.cosine import trial_scores
from tidyvoice.scoring.groups import read_maps, speakers_of
from tidyvoice.scoring.leaks import LeakGuard, People
from tidyvoice.scoring.normalization import normalize
from tidyvoice.scoring.pairs import difference
from tidyvoice.scoring.provenance import UNKNOWN_ORIGIN, Remark, Source, Step
from tidyvoice.scoring.tables import Tables
from tidyvoice.scoring.trials import ScoreTable, read_scores, read_trials
from tidyvoice.settings import read_json

# Of the scores in a fit, which squares them: the largest, and the least difference of two.
LARGEST, LEAST = 1e100, 1e-100


def score_list(
    embeddings: Path,
    trials: Path,
    out: Path,
    mean: Path | None = None,
    backend: Path | None = None,
    utt2spk: Sequence[Path] = (),
    allow_overlap: bool = False,
) -> lineage.Lineage:
    """Write the scores of a trial list; the arguments are the options of the command."""
    tables = Tables([embeddings], mean, backend)
    lineage.refuse_to_lose(out, [trials, *utt2spk, *tables.paths])
    listed, guard = read_trials(trials), LeakGuard(allow_overlap)
    evaluated = People.of("trials", trials, listed, read_maps(utt2spk, "speaker"))
    tables.check(guard, evaluated)
    if tables.backend.chosen_by:
        choice = People.named("choice", backend, tables.backend.chosen_by)
        guard.disjoint(evaluated, choice, "selected")
    inputs, settings = (*tables.sources(), evaluated.source), {"model": tables.embeddings.model}
    if backend:
        settings |= {"title": tables.backend.title}
    else:
        settings |= {"averaged": tables.averaged}
    name = "backend" if backend else "cosine"
    step = Step(step=name, inputs=inputs, settings=settings, remarks=guard.remarks)
    scores = trial_scores(tables.embeddings, listed, tables.backend)
    return lineage.write_with_lineage(out, ScoreTable(listed, scores), [step])


def normalize_scores(
    scores: Path,
    tables: Tables,
    out: Path,
    method: str = "asnorm",
    top_n: int = 300,
    utt2spk: Sequence[Path] = (),
    allow_overlap: bool = False,
) -> lineage.Lineage:
    """Write normalised scores; ``tables`` hold all embeddings."""
    if method not in ("asnorm", "snorm"):
        raise TidyVoiceError(f"--method {method}: use asnorm or snorm.")
    lineage.refuse_to_lose(out, [scores, *utt2spk, *tables.paths])
    scored, guard = read_scores(scores), LeakGuard(allow_overlap)
    tables.check(guard, People.of("trials", scores, scored.trials, read_maps(utt2spk, "speaker")))
    settings = {} if method == "snorm" else {"top_n": top_n}
    mean, where = tables.backend.mean, tables.cohort_source
    values = normalize(scored, tables.embeddings, tables.cohort, mean, method, top_n, where)
    inputs, before = tuple(tables.sources()), lineage.read_lineage(scores).steps
    step = Step(step=method, inputs=inputs, settings=settings, remarks=guard.remarks)
    return lineage.write_with_lineage(out, ScoreTable(scored.trials, values), [*before, step])


def calibrate_scores(
    apply: Sequence[Path],
    out: Path,
    tables: Tables,
    fit: Sequence[Path] = (),
    use: Path | None = None,
    folds: int | None = None,
    prior: float = PRIOR,
    save: Path | None = None,
    utt2spk: Sequence[Path] = (),
    allow_overlap: bool = False,
) -> lineage.Lineage:
    """Write log-likelihood ratios of one or several systems: give ``fit``, ``use`` or ``folds``.

    ``apply`` and ``fit`` are one score file for each system, and ``tables`` the files of the
    quality measures of all lists. The other arguments are the options of the command.
    """
    if folds and save:
        raise TidyVoiceError("--save: it needs --fit.")
    fitted_on = [*fit, *([use] * len(apply) if use else [])]
    lineage.refuse_to_lose(out, [*apply, *fitted_on, *tables.paths, *utt2spk], save)
    guard, names = LeakGuard(allow_overlap), read_maps(utt2spk, "speaker")
    systems = [lineage.read_lineage(path).steps for path in apply]
    inputs, settings = [Source(role="fit", path=str(path)) for path in fit], {}
    if fit:
        labelled, fitted = _features(fit, "calibration trials", tables, names, guard)
        before = [lineage.read_lineage(path).steps for path in fit]
        for step in lineage.all_steps(itertools.chain(*before)):
            # Scores of a back end that this list chose flatter the list, not other lists.
            guard.add(*(remark for remark in step.remarks if remark.kind != "selected"))
        origin = Origin(
            systems=before,
            measures=tables.step(),
            speakers=fitted.names and tuple(sorted(fitted.names)),
            remarks=guard.remarks,
        )
        calibration = fit_calibration(labelled, prior, origin)
        settings = {"trials": len(labelled.trials)}
    elif use:
        calibration = read_json(Calibration, use, "write it with `tidyvoice calibrate --save`")
        origin = calibration.origin or Origin(systems=((),) * len(apply))
        fitted = People.named("calibration", use, origin.speakers)
        inputs = [lineage.source("calibration", use, fitted.source.speakers)]
    if not folds:
        if len(origin.systems) != len(apply):
            counts = f"{len(origin.systems)} systems, but --apply has {len(apply)}"
            raise TidyVoiceError(
                f"{fitted_on[0]} is of {counts}. Give the same, in the same order."
            )
        for compared in zip(apply, systems, fitted_on, origin.systems, strict=True):
            _same_steps(guard, *compared)
    features, people = _features(apply, "trials", tables, names, guard)
    if folds:
        speakers = speakers_of(features.trials, names)
        if speakers is None:
            raise TidyVoiceError(f"{apply[0]}: the ids do not contain speakers. Give --utt2spk.")
        values = cross_fit(features, speakers.codes, folds, prior)
        settings = {"folds": folds, "speakers": len(speakers.names), "prior": prior}
    else:
        if use and len(features.names) > len(apply):
            _same_steps(guard, apply[0], [tables.step()], use, [origin.measures])
        guard.disjoint(people, fitted)
        guard.add(*origin.remarks)
        values = calibration.apply(features)
        settings |= {"prior": calibration.prior}
    if save:
        calibration.save(save)
    fusion = len(apply) > 1
    scores = [Source(role="scores", path=str(path)) for path in apply] if fusion else []
    step = Step(
        step="fusion" if fusion else "calibration",
        inputs=(*scores, *inputs, *tables.sources()),
        settings={**settings, "features": list(features.names)},
        remarks=guard.remarks,
        systems=tuple(systems) if fusion else (),
    )
    steps = [step] if fusion else [*systems[0], step]
    return lineage.write_with_lineage(out, ScoreTable(features.trials, values), steps)


def _features(
    paths: Sequence[Path],
    role: str,
    tables: Tables,
    utt2spk: Mapping[str, str] | None,
    guard: LeakGuard,
) -> tuple[Features, People]:
    """Return the features of the list that the systems share, and its speakers."""
    trials, scores = None, []
    for path in paths:
        table = read_scores(path)
        trials = trials or table.trials
        if scores and (text := difference(trials, table.trials)):
            raise TidyVoiceError(f"{text}. Score the same trial list with each system.")
        low, high = table.scores.min(), table.scores.max()
        if (high - low < LEAST and len(trials) > 1) or max(-low, high) > LARGEST:
            fix = f"Give scores that differ by {LEAST:g} or more, within ±{LARGEST:g}."
            raise TidyVoiceError(f"{path}: all scores are between {low:g} and {high:g}. {fix}")
        scores.append(table.scores)
    people = People.of(role, paths[0], trials, utt2spk)
    tables.check(guard, people)
    features = Features(trials, scores, *tables.measures(trials))
    # A similarity that embeddings tell hears the voice as well, so it separates like a score does.
    # What a list gives away is whether its targets are within a language more often.
    checked = features
    if features.language_similarity is not None:
        checked = replace(features, language_similarity=tables.known_similarity(trials))
        if checked.language_similarity is None:
            guard.add(Remark(kind="unchecked", reason="unknown languages", one=people.source))
    guard.add(*check_measures(checked, people.source))
    return features, people


def _same_steps(
    guard: LeakGuard, scores: Path, now: Sequence[Step], path: Path, before: Sequence[Step]
) -> None:
    """Check that two lists of steps agree; if some are not known, compare the last ones."""
    one, other = (Source(role="scores", path=str(each)) for each in (scores, path))
    unchecked = {"kind": "unchecked", "one": one, "other": other}
    left, right = (
        [(step.step, step.compared()) for step in steps if step.step != UNKNOWN_ORIGIN]
        for steps in (now, before)
    )
    if not before or len(left) < len(now) or len(right) < len(before):
        guard.add(Remark(reason="unknown steps", **unchecked))
        common = min(len(left), len(right))
        left, right = left[len(left) - common :], right[len(right) - common :]
    ways = [", ".join(name for name, _ in side) for side in (left, right)]
    fix = "Treat both lists alike, and give the systems in the same order."
    if ways[0] != ways[1]:
        both = f"{scores} was made by {ways[0]}, but {path} is fitted to scores of {ways[1]}"
        raise TidyVoiceError(f"{both}. {fix}")
    for (name, values), (_, others) in zip(left, right, strict=True):
        for key, value in values.items():
            if None in (value, others[key]):
                details = {"setting": key, "step": name}
                guard.add(Remark(reason="unknown setting", details=details, **unchecked))
            elif value != others[key]:
                both = f"{scores} and the scores that {path} is fitted to"
                what = key if key == name else f"{key} of {name}"
                raise TidyVoiceError(f"{both} differ in the {what}. {fix}")
