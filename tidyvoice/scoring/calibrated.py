"""Calibration and fusion from files to a score file of log-likelihood ratios."""

from collections.abc import Mapping, Sequence
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
from tidyvoice.scoring.leaks import LeakGuard, People
from tidyvoice.scoring.lineage import (
    Step,
    read_lineage,
    refuse_to_lose,
    steps_of,
    with_checksum,
    write_with_lineage,
)
from tidyvoice.scoring.normalization import cohort_statistics
from tidyvoice.scoring.pairs import same_trials
from tidyvoice.scoring.pipeline import (
    CohortFiles,
    Made,
    mean_people,
    trial_languages,
)
from tidyvoice.scoring.quality import Features, Quality, quality_measures
from tidyvoice.scoring.trials import ScoreTable, Trials, read_scores


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

    def of(self, trials: Trials, people: People, guard: LeakGuard) -> Quality | None:
        """The measures of a list; None if there are none.

        Args:
            people: the list's speakers, whom the cohort and the mean must not know.

        Raises:
            TidyVoiceError: a faulty file, something that one measure needs and that is not given,
                an utterance that a file lacks, a speaker of the list in the cohort or the mean.
        """
        if self.cohort and not self.embeddings:
            raise TidyVoiceError("--cohort: scores against it need --embeddings")
        if self.blind and not self.cohort:
            raise TidyVoiceError("--blind: languages are guessed from those of a --cohort")
        own = _joined(self.embeddings) if self.embeddings else None
        centre = None
        if self.mean:
            table = load_embeddings(self.mean)
            guard.disjoint(people, mean_people(self.mean, table))
            centre = table.mean()
        cohort_scores = match = members = spoken = None
        if self.cohort:
            members, speakers = self.cohort.load()
            guard.disjoint(people, self.cohort.people(members, speakers))
            cohort = speaker_cohort(members, speakers, centre, source=str(self.cohort.embeddings))
            rows = trials.places_in(own.ids, "embedding")
            vectors = unit_vectors(own, rows, centre)
            cohort_scores = cohort_statistics(vectors, cohort, self.cohort.top_n)[0]
            spoken = self.cohort.languages(members) if self.blind else None
        if self.language_match:
            languages = trial_languages(
                trials, own, members, spoken, centre, self.utt2lang, self.blind
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

    def files(self) -> dict[str, list[Path]]:
        """All of them, by role."""
        files = {"mean": [self.mean] if self.mean else []}
        for role in ("embeddings", "utt2dur", "utt2lang"):
            files[role] = list(getattr(self, role))
        cohort = self.cohort.files() if self.cohort else {}
        return {**files, **{role: [path] for role, path in cohort.items()}}

    def paths(self) -> list[Path]:
        """All of them."""
        return [path for paths in self.files().values() for path in paths]

    def inputs(self) -> dict[str, str]:
        """For the lineage."""
        return {
            role: ", ".join(map(with_checksum, paths))
            for role, paths in self.files().items()
            if paths
        }


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
    measures = measures or Measures()
    refuse_to_lose(out, [*fit, *apply, *measures.paths(), *utt2spk], save)
    guard, names = LeakGuard(in_sample), read_maps(utt2spk, "speaker")
    known, fitted = _features(fit, "the calibration trials of", measures, names, guard)
    asked, people = _features(apply, "the trials of", measures, names, guard)
    guard.disjoint(people, fitted)
    made_by = [_made_by(path) for path in fit]
    _compare(made_by, fit[0], apply, guard)
    lineages = [read_lineage(path) for path in fit]
    for steps in (lineage.steps for lineage in lineages if lineage):
        for step in steps:
            guard.in_sample += [said for said in step.in_sample if said not in guard.in_sample]
            for said in step.unchecked:
                guard.note(said)
    notes = {
        "scores": [str(path) for path in fit],
        "made_by": made_by,
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
    measures: Measures | None = None,
    utt2spk: Sequence[Path] = (),
    in_sample: bool = False,
) -> Made:
    """Apply a saved calibration, which knows the speakers that it was fitted to.

    Raises:
        TidyVoiceError: a faulty file, other features than those of the fit, or speakers that are
            both fitted on and evaluated.
    """
    measures = measures or Measures()
    refuse_to_lose(out, [calibration, *apply, *measures.paths(), *utt2spk])
    guard, names = LeakGuard(in_sample), read_maps(utt2spk, "speaker")
    made = load_calibration(calibration)
    asked, people = _features(apply, "the trials of", measures, names, guard)
    guard.disjoint(
        people, People.named(f"the calibration {calibration}", made.notes.get("speakers"))
    )
    _compare(made.notes.get("made_by", [None] * len(apply)), calibration, apply, guard)
    guard.in_sample += made.notes.get("in_sample", [])
    for said in made.notes.get("unchecked", []):
        guard.note(said)
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
    in_sample: bool = False,
) -> Made:
    """Calibrate labelled scores by fits to their own other speakers.

    For a model that was trained on every speaker that could have been held out.

    Raises:
        TidyVoiceError: a faulty file, speakers that are not known; see ``cross_fit``.
    """
    measures = measures or Measures()
    refuse_to_lose(out, [*scores, *measures.paths(), *utt2spk])
    guard, names = LeakGuard(in_sample), read_maps(utt2spk, "speaker")
    features, _ = _features(scores, "the trials of", measures, names, guard)
    speakers = speakers_of(features.trials, names)
    if speakers is None:
        raise TidyVoiceError(f"{scores[0]}: its ids tell no speaker; give --utt2spk")
    values = cross_fit(features, speakers.codes, folds, how)
    text = (
        f"{_name(scores)} by cross-fitting over {folds} folds of {len(speakers.names):,} speakers "
        f"on {', '.join(features.names)}; prior {(how or Fit()).prior:g}"
    )
    return _write(out, scores, features, values, text, measures.inputs(), guard)


def _features(
    paths: Sequence[Path],
    what: str,
    measures: Measures,
    utt2spk: Mapping[str, str] | None,
    guard: LeakGuard,
) -> tuple[Features, People]:
    """The features of the systems' common list, and its speakers."""
    table = read_scores(paths[0])
    trials, scores = table.trials, [table.scores]
    for path in paths[1:]:
        other = read_scores(path)
        same_trials(trials, other.trials)
        scores.append(other.scores)
    people = People.of(f"{what} {paths[0]}", trials, utt2spk)
    return Features(trials, scores, measures.of(trials, people, guard)), people


def _made_by(path: Path) -> list | None:
    """What was done to scores, as far as it decides what they mean; None if that is not known."""
    steps = steps_of(path)
    return [[step.step, step.how] for step in steps] if steps else None


def _compare(
    fitted: Sequence[list | None], source: Path, apply: Sequence[Path], guard: LeakGuard
) -> None:
    """Demand that each system's scores were made as those that the calibration is fitted to.

    Raises:
        TidyVoiceError: they were made otherwise: the map would fit other scores than these.
    """
    for before, path in zip(fitted, apply, strict=True):
        now = _made_by(path)
        if before is None or now is None:
            guard.note(f"{path} against {source}: how both were made is not known")
        elif before != now:
            ours, theirs = (_words(steps) for steps in (now, before))
            raise TidyVoiceError(
                f"{path} was made by {ours}, but {source} is fitted to scores by {theirs}; treat "
                "both lists alike, and give the systems in the same order"
            )


def _words(steps: list) -> str:
    done = []
    for name, how in steps:
        settings = ", ".join(f"{key} {value[:12]}" for key, value in how.items())
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
            guard.in_sample += [said for step in steps for said in step.in_sample]
    overlaps = tuple(dict.fromkeys(guard.in_sample))
    step = Step(kind, text, inputs, overlaps, tuple(guard.unchecked))
    write_with_lineage(out, [ScoreTable(features.trials, values)], [*before, step])
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
