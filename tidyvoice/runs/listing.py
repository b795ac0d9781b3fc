"""Tables of experiments: a list, best EER first, or two side by side."""

import gzip
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tidyvoice.evaluation.differences import differences
from tidyvoice.evaluation.evaluate import Evaluation, evaluate
from tidyvoice.evaluation.tables import Cell, Table, decimals, percent, systems_table
from tidyvoice.record import run_differences
from tidyvoice.report import load_system
from tidyvoice.runs.experiments import Experiment, readable
from tidyvoice.settings import differences as settings_differences

USUAL = ("dev", "dev-llr")  # the score files that the recipes report
CHECKSUM, CHECKSUM_SHOWN = re.compile("[0-9a-f]{32,}"), 12


def evaluations(
    experiment: Experiment,
    every: bool = False,
    resamples: int = 0,
    utt2spk: Sequence[Path] = (),
) -> dict[str, Evaluation]:
    """Evaluate the labelled scores of an experiment, by name.

    Args:
        every: all score files, not only those of ``USUAL``.
        resamples, utt2spk: see ``evaluate.evaluate``.
    """

    def evaluate_labelled(path: Path) -> Evaluation | None:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            if len(file.readline().split()) == 3:  # no labels
                return None
        return evaluate(load_system(path, utt2spk=utt2spk).file, resamples=resamples)

    results = {
        name: readable(evaluate_labelled, path)
        for name, path in experiment.scores.items()
        if every or name in USUAL
    }
    return {name: evaluation for name, evaluation in results.items() if evaluation}


@dataclass(frozen=True)
class Listing:
    """Experiments with their results.

    Attributes:
        experiments: in the order of the table.
        settings: dotted keys of the settings that are not the same in all experiments.
        lists: names of the score files, the usual ones first.
        results: by experiment and by name of the score file.
    """

    experiments: list[Experiment]
    settings: list[str]
    lists: list[str]
    results: dict[str, dict[str, Evaluation]]

    def to_json(self) -> dict[str, Any]:
        """Return the listing for JSON: rates as fractions, null for what is not known."""
        rows = [
            {
                "experiment": experiment.name,
                "step": experiment.step,
                "steps": experiment.steps,
                "loss": experiment.loss,
                "utterances_per_second": experiment.utterances_per_second,
                "settings": {key: experiment.settings.get(key) for key in self.settings},
                "results": {name: e.to_json() for name, e in self.results[experiment.name].items()},
                "record": [run.model_dump(mode="json") for run in experiment.record],
            }
            for experiment in self.experiments
        ]
        return {"experiments": rows}

    def to_text(self) -> str:
        """Return the table, its remarks, and the settings that differ."""
        head = [f"{metric} {name}" for name in self.lists for metric in ("EER %", "minDCF")]
        head = ["experiment", *head, *self.experiments[0].facts()]
        rows: list[list[Cell]] = []
        for experiment in self.experiments:
            cells = [cell for name in self.lists for cell in self._cells(experiment, name)]
            rows.append([experiment.name, *cells, *experiment.facts().values()])
        text = "\n".join([Table(head, rows).to_text(), *self.remarks()])
        if not self.settings:
            return text
        lines = [
            f"{run.name}: {', '.join(f'{key}={_setting(run, key)}' for key in self.settings)}"
            for run in self.experiments
        ]
        return "\n".join([text, "", "settings that differ:", *lines])

    def _cells(self, experiment: Experiment, name: str) -> list[Cell]:
        """Return EER and minDCF; a star marks results that are too good."""
        evaluation = self.results[experiment.name].get(name)
        if evaluation is None:
            return [None, None]
        star = "*" if evaluation.lineage.flaws else ""
        pooled = evaluation.pooled
        return [f"{percent(pooled.eer)}{star}", f"{decimals(pooled.min_dcf)}{star}"]

    def remarks(self) -> list[str]:
        """Return what the stars stand for, and which results cannot be compared."""
        lines = [
            f"* {mark.upper()}: {experiment.name}, {name}: {reason}"
            for experiment in self.experiments
            for name, evaluation in self.results[experiment.name].items()
            for mark, reasons in evaluation.lineage.flaws.items()
            for reason in reasons
        ]
        for name in self.lists:
            entries = [results[name] for results in self.results.values() if name in results]
            if len({evaluation.trials for evaluation in entries}) > 1:
                lines.append(f"{name}: the trial lists are different; do not compare the results")
        return lines


def list_experiments(
    experiments: Sequence[Experiment],
    every: bool = False,
    resamples: int = 0,
    utt2spk: Sequence[Path] = (),
) -> Listing:
    """Evaluate experiments and sort them by the EER of the first list, then by name.

    Args:
        every, resamples, utt2spk: see ``evaluations``.
    """
    results = {run.name: evaluations(run, every, resamples, utt2spk) for run in experiments}
    names = {name for by_list in results.values() for name in by_list}
    lists = [name for name in USUAL if name in names] + sorted(names.difference(USUAL))

    def rank(run: Experiment) -> tuple[list[float], str]:
        by_list = results[run.name]
        return [by_list[name].pooled.eer if name in by_list else np.inf for name in lists], run.name

    first, *others = experiments
    keys = {key for other in others for key in settings_differences(first.settings, other.settings)}
    return Listing(sorted(experiments, key=rank), sorted(keys), lists, results)


@dataclass(frozen=True)
class Comparison:
    """Two experiments in the order in which the user gave them.

    Attributes:
        record: both values of what their last training runs differ in, by dotted key.
        resamples: of the speakers, for the intervals.
    """

    listing: Listing
    record: dict[str, tuple[object, object]]
    resamples: int

    def to_json(self) -> dict[str, Any]:
        """Return the comparison for JSON: the second experiment minus the first one."""
        content = {}
        for name, pair in self._results().items():
            both = differences(*pair.values()) if len(pair) == 2 else None
            content[name] = both and both.to_json()
        return {**self.listing.to_json(), "record": self.record, "differences": content}

    def to_text(self) -> str:
        """Return a table of settings and records, one of each list's results, and remarks."""
        first, second = self.listing.experiments
        facts = zip(first.facts().items(), second.facts().values(), strict=True)
        rows = [[key, left, right] for (key, left), right in facts]
        rows += [
            [key, _setting(first, key), _setting(second, key)] for key in self.listing.settings
        ]
        rows += [[key, *map(_recorded, values)] for key, values in self.record.items()]
        parts = [Table(["", first.name, second.name], rows).to_text()]
        remarks = self.listing.remarks()
        remarks += [f"{run.name}: no record.json" for run in (first, second) if not run.record]
        for name, pair in self._results().items():
            parts.append(f"{name}:\n{systems_table(pair).transposed().to_text()}")
            if self.resamples and any(evaluation.speakers is None for evaluation in pair.values()):
                remarks.append(
                    f"{name}: no intervals, the ids do not name the speakers; give --utt2spk"
                )
        if self.resamples:
            remarks.append(f"[95 % intervals from {self.resamples:,} resamples of the speakers]")
        return "\n\n".join([*parts, "\n".join(remarks)] if remarks else parts)

    def _results(self) -> dict[str, dict[str, Evaluation]]:
        """Return the evaluations by list and by experiment, the first experiment first."""
        results = self.listing.results
        names = [experiment.name for experiment in self.listing.experiments]
        return {
            key: {name: results[name][key] for name in names if key in results[name]}
            for key in self.listing.lists
        }


def compare_experiments(
    first: Experiment,
    second: Experiment,
    every: bool = False,
    resamples: int = 1000,
    utt2spk: Sequence[Path] = (),
) -> Comparison:
    """Compare settings, records and results of two experiments.

    Args:
        every, resamples, utt2spk: see ``evaluations``.
    """
    both = [first, second]
    listing = replace(list_experiments(both, every, resamples, utt2spk), experiments=both)
    record = {}
    if first.record and second.record:
        record = run_differences(first.record[-1], second.record[-1])
        record.pop("command", None)  # two experiments always have two commands
    return Comparison(listing, record, resamples)


def _setting(experiment: Experiment, key: str) -> str:
    return _value(experiment.settings[key]) if key in experiment.settings else "-"


def _value(value: object) -> str:
    """Return a value as a YAML file has it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _recorded(value: object) -> str:
    """Return a value of a record; of a checksum only the beginning."""
    text = "-" if value is None else _value(value)
    return text[:CHECKSUM_SHOWN] if CHECKSUM.fullmatch(text) else text
