"""Calibrate and fuse from score files to a score file of log-likelihood ratios."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tidyvoice.errors import TidyVoiceError, TidyVoiceWarning
from tidyvoice.scoring.calibration import Fit, Origin, fit_calibration, load_calibration
from tidyvoice.scoring.crossfit import cross_fit
from tidyvoice.scoring.groups import read_maps, speakers_of
from tidyvoice.scoring.leaks import LeakGuard, People
from tidyvoice.scoring.lineage import read_lineage, refuse_to_lose, source
from tidyvoice.scoring.measures import Measures
from tidyvoice.scoring.pairs import same_trials
from tidyvoice.scoring.pipeline import ScoringResult, write_result
from tidyvoice.scoring.provenance import COMPARED, UNKNOWN_ORIGIN, Remark, Source, Step
from tidyvoice.scoring.quality import SEPARATING, Features, separation
from tidyvoice.scoring.trials import ScoreTable, read_scores

# The option that adds a measure, by how the measure's name ends.
OPTIONS = {
    "duration": "--utt2dur",
    "magnitude": "--embeddings",
    "cohort score": "--cohort",
    "language match": "--language-match",
}


class Calibrator:
    """One call of ``calibrate`` or ``fuse``: its score files, measures and leak guard.

    Args:
        apply: one score file for each system.
        out: score file to write.
        measures: quality measures beside the scores.
        utt2spk: speakers of all lists, for the leak guard; by default from the ids.
        allow_overlap: record overlaps of speakers in the provenance instead of refusing them.
    """

    def __init__(
        self,
        apply: Sequence[Path],
        out: Path,
        measures: Measures | None = None,
        utt2spk: Sequence[Path] = (),
        allow_overlap: bool = False,
    ):
        self._apply, self._out, self._measures = apply, out, measures or Measures()
        self._utt2spk, self._guard = utt2spk, LeakGuard(allow_overlap)

    def fit(self, fit: Sequence[Path], how: Fit, save: Path | None = None) -> ScoringResult:
        """Fit a calibration on labelled scores, and apply it.

        Args:
            fit: one score file for each system, in the order of ``apply``.
            save: file for the calibration.
        """
        self._protect([*fit], save)
        lineages = [read_lineage(path) for path in fit]
        self._same_systems([lineage.steps for lineage in lineages], fit)
        fit_features, fitted = self._features(fit, "calibration trials")
        features, people = self._features(self._apply, "trials")
        self._guard.disjoint(people, fitted)
        self._inherit([step for lineage in lineages for step in lineage.steps])
        origin = Origin(
            systems=tuple(lineage.steps for lineage in lineages),
            measures=self._measures.step(),
            speakers=fitted.names and tuple(sorted(fitted.names)),
            remarks=self._guard.remarks,
        )
        calibration = fit_calibration(fit_features, how, origin=origin)
        if save:
            calibration.save(save)
        inputs = [Source(role="fit", path=str(path)) for path in fit]
        settings = {"trials": len(fit_features.trials), "prior": calibration.prior}
        return self._write(features, calibration.apply(features), settings, inputs)

    def use(self, path: Path) -> ScoringResult:
        """Apply a saved calibration."""
        self._protect([path])
        calibration = load_calibration(path)
        origin = calibration.origin or Origin(systems=((),) * len(self._apply))
        self._same_systems(origin.systems, [path] * len(origin.systems))
        features, people = self._features(self._apply, "trials")
        if len(features.names) > len(features.scores):
            self._same_steps(self._apply[0], [self._measures.step()], path, [origin.measures])
        self._guard.disjoint(people, People.named("calibration", path, origin.speakers))
        self._guard.add(*origin.remarks)
        settings = {"prior": calibration.prior}
        inputs = [source("calibration", path, origin.speakers and len(origin.speakers))]
        return self._write(features, calibration.apply(features), settings, inputs)

    def cross_fit(self, folds: int, how: Fit) -> ScoringResult:
        """Calibrate labelled scores by cross-fitting over their own speakers.

        Use it for a model whose training left no other speakers for a calibration.
        """
        self._protect([])
        features, _ = self._features(self._apply, "trials")
        speakers = speakers_of(features.trials, self._names())
        if speakers is None:
            raise TidyVoiceError(
                f"{self._apply[0]}: the ids do not contain speakers. Give --utt2spk."
            )
        values = cross_fit(features, speakers.codes, folds, how)
        settings = {"folds": folds, "speakers": len(speakers.names), "prior": how.prior}
        return self._write(features, values, settings, [])

    def _protect(self, read: list[Path], save: Path | None = None) -> None:
        read += [*self._apply, *self._measures.paths(), *self._utt2spk]
        refuse_to_lose(self._out, read, save)

    def _names(self) -> dict[str, str] | None:
        return read_maps(self._utt2spk, "speaker")

    def _features(self, paths: Sequence[Path], role: str) -> tuple[Features, People]:
        """Return the features of the list that the systems share, and its speakers."""
        table = read_scores(paths[0])
        trials, scores = table.trials, [table.scores]
        for path in paths[1:]:
            other = read_scores(path)
            same_trials(trials, other.trials)
            scores.append(other.scores)
        people = People.of(role, paths[0], trials, self._names())
        self._measures.tables.check(self._guard, people)
        features = Features(trials, scores, *self._measures.of(trials))
        if len(features.names) > len(features.scores):
            self._check_measures(features, people.source)
        return features, people

    def _check_measures(self, features: Features, listed: Source) -> None:
        """Record quality measures that alone separate targets from non-targets, and warn of them.

        A fit takes such a measure for the answer, which it is on no other list.
        """
        areas = separation(features)
        if areas is None:
            self._guard.add(Remark(kind="unchecked", reason="unknown labels", one=listed))
            return
        areas = {name: area for name, area in areas.items() if area > SEPARATING}
        if not areas:
            return
        self._guard.add(
            Remark(kind="confounded", reason="separating", one=listed, details={"areas": areas})
        )
        options = [option for end, option in OPTIONS.items() if any(n.endswith(end) for n in areas)]
        warnings.warn(
            f"{listed.path}: {', '.join(areas)}: this alone separates the targets of the "
            f"{listed.role} from the non-targets. Leave {' and '.join(options)} out, or use trials "
            "whose targets and non-targets do not differ in it.",
            TidyVoiceWarning,
            stacklevel=4,
        )

    def _inherit(self, steps: Sequence[Step]) -> None:
        for step in steps:
            self._guard.add(*step.remarks)
            for system in step.systems:
                self._inherit(system)

    def _same_systems(self, fitted: Sequence[Sequence[Step]], paths: Sequence[Path]) -> None:
        """Check that each system's scores were made as the scores of the fit.

        If the origin of either is unknown, their last steps are compared.
        """
        if len(fitted) != len(self._apply):
            raise TidyVoiceError(
                f"{paths[0]}: fitted to the scores of {len(fitted)} systems, but --apply has "
                f"{len(self._apply)} ({', '.join(map(str, self._apply))}). Give the scores of the "
                "same systems, in the same order."
            )
        for before, path, scores in zip(fitted, paths, self._apply, strict=True):
            both = [list(read_lineage(scores).steps), list(before)]
            sides = [[step for step in steps if step.step != UNKNOWN_ORIGIN] for steps in both]
            if sides != both or not before:
                self._unknown(scores, path, "unknown steps")
                common = min(map(len, sides))
                sides = [steps[len(steps) - common :] for steps in sides]
            self._same_steps(scores, sides[0], path, sides[1])

    def _same_steps(
        self, scores: Path, now: Sequence[Step], path: Path, before: Sequence[Step]
    ) -> None:
        """Check that two lists of steps agree in all that is known of both."""
        same = [step.step for step in now] == [step.step for step in before]
        for left, right in zip(now, before, strict=False):
            values, others = left.compared(), right.compared()
            for key in COMPARED.get(left.step, ()) if same else ():
                if None in (values[key], others[key]):
                    self._unknown(scores, path, "unknown setting", setting=key, step=left.step)
                else:
                    same &= values[key] == others[key]
        if not same:
            raise TidyVoiceError(
                f"{scores} was made by {_steps(now)}, but {path} is fitted to scores made by "
                f"{_steps(before)}. Treat both lists alike, and give the systems in the same order."
            )

    def _unknown(self, scores: Path, path: Path, reason: str, **details: Any) -> None:
        first, second = (Source(role="scores", path=str(each)) for each in (scores, path))
        self._guard.add(
            Remark(kind="unchecked", reason=reason, one=first, other=second, details=details)
        )

    def _write(
        self,
        features: Features,
        values: np.ndarray,
        settings: Mapping[str, Any],
        inputs: Sequence[Source],
    ) -> ScoringResult:
        lineages = [read_lineage(path).steps for path in self._apply]
        fusion = len(lineages) > 1
        systems = [Source(role="scores", path=str(path)) for path in self._apply] if fusion else []
        step = Step(
            step="fusion" if fusion else "calibration",
            inputs=(*systems, *inputs, *self._measures.step().inputs),
            settings={**settings, "features": list(features.names)},
            remarks=self._guard.remarks,
            systems=tuple(lineages) if fusion else (),
        )
        steps = [step] if fusion else [*lineages[0], step]
        return write_result(self._out, ScoreTable(features.trials, values), steps)


def _steps(steps: Sequence[Step]) -> str:
    names = []
    for step in steps:
        values = step.compared().items()
        shown = ", ".join(f"{key} {str(value)[:12]}" for key, value in values)
        names.append(f"{step.step} ({shown})" if shown else step.step)
    return ", ".join(names)
