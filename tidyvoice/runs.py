"""Experiments in a table: settings, progress, record and results. Needs no torch.

A damaged file gives one warning that names it, and is left out.
"""

import json
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tidyvoice.errors import TidyVoiceError, TidyVoiceWarning
from tidyvoice.evaluation.evaluate import Evaluation, evaluate
from tidyvoice.evaluation.tables import Cell, Table, decimals, percent
from tidyvoice.record import Run, read_record
from tidyvoice.report.system import load_system, score_files
from tidyvoice.report.training_log import TrainingLog, log_path, read_log
from tidyvoice.settings import differences, flatten, read_yaml

USUAL = ("dev", "dev-llr")  # the score files that the recipes report
INTERVALS = 400  # at the end of the log, for the median speed


@dataclass(frozen=True)
class Experiment:
    """An experiment folder: its path, settings by dotted key, log, runs and score files by name."""

    name: str
    settings: dict[str, Any]
    log: TrainingLog | None = None
    record: tuple[Run, ...] = ()
    scores: dict[str, Path] = field(default_factory=dict)

    @property
    def steps(self) -> int | None:
        """Steps of the whole training; None where neither record nor settings give it."""
        if self.record:
            return self.record[-1].steps
        counts = [self.settings.get(key) for key in ("epochs", "epoch_iterations")]
        return counts[0] * counts[1] if all(type(count) is int for count in counts) else None

    @property
    def commits(self) -> list[str]:
        """The commits that it was trained with, in order; "+" marks changed files."""
        return list(dict.fromkeys(str(run.git) for run in self.record if run.git))

    def progress(self) -> dict[str, float | None]:
        """Return the last logged step, the loss there and the median speed, as far as known."""
        step = loss = speed = None
        if self.log is not None:
            step, last = int(self.log.iteration[-1]), float(self.log.values["loss"][-1])
            loss = last if np.isfinite(last) else None
            speeds = self.log.values["utt_per_s"][-INTERVALS:]
            speeds = speeds[np.isfinite(speeds)]
            speed = float(np.median(speeds)) if len(speeds) else None
        return {"step": step, "steps": self.steps, "loss": loss, "utterances_per_second": speed}


def find_experiments(folders: Sequence[Path]) -> list[Experiment]:
    """Return the experiments in and below the folders, each once, in the order of their paths."""
    for folder in folders:
        if not folder.is_dir():
            raise TidyVoiceError(f"{folder}: no such folder; give a folder with experiments")
    seen: set[Path] = set()
    experiments = [experiment for folder in folders for experiment in _below(folder, seen)]
    if not experiments:
        where = ", ".join(map(str, folders))
        raise TidyVoiceError(f"no experiment below {where}. Give folders with trainings.")
    return experiments


def _below(folder: Path, seen: set[Path]) -> Iterator[Experiment]:
    real = folder.resolve()
    if real in seen:  # a link can lead back to a folder above
        return
    seen.add(real)
    experiment = read_experiment(folder)
    if experiment is not None:
        yield experiment
        return
    for inner in sorted(_readable(os.listdir, folder) or ()):
        if inner[0] != "." and (folder / inner).is_dir():
            yield from _below(folder / inner, seen)


def read_experiment(folder: Path) -> Experiment | None:
    """Read an experiment folder; None if it is not one."""
    config = folder / "config.yaml"
    settings = _readable(_settings, config) if config.is_file() else None
    if settings is None:
        return None
    log, record = _readable(read_log, log_path(folder)), _readable(read_record, folder) or ()
    return Experiment(str(folder), settings, log, record, score_files(folder))


def _settings(config: Path) -> dict[str, Any] | None:
    """Return the settings by dotted key; None if they are not those of an experiment."""
    values = read_yaml(config)
    if "experiment" not in values:
        return None
    del values["experiment"]
    try:
        flat = flatten(values)
        json.dumps(flat, default=str)  # refuses such keys in lists
        return flat
    except TypeError:
        raise TidyVoiceError(f"{config}: a key is not text; write `key: value`") from None


def _readable(read: Callable[[Path], Any], path: Path) -> Any:
    """Return what ``read`` returns; None, and a warning that names the file, if it fails."""
    try:
        return read(path)
    except (TidyVoiceError, OSError) as error:
        warnings.warn(f"{error}; left out", TidyVoiceWarning, stacklevel=2)
        return None


@dataclass(frozen=True)
class Listing:
    """Experiments with their evaluations by score file, and the keys of settings that differ."""

    rows: list[tuple[Experiment, dict[str, Evaluation]]]
    settings: list[str]

    def to_json(self) -> dict[str, Any]:
        """Return the listing for JSON: rates as fractions, null for what is not known."""
        rows = [
            {
                "experiment": experiment.name,
                **experiment.progress(),
                "settings": {key: experiment.settings.get(key) for key in self.settings},
                "results": {name: result.to_json() for name, result in results.items()},
                "record": [run.model_dump(mode="json") for run in experiment.record],
            }
            for experiment, results in self.rows
        ]
        return {"experiments": rows}

    def to_text(self) -> str:
        """Return the table, its remarks, and the settings that differ."""
        names = [name for name in USUAL if any(name in results for _, results in self.rows)]
        head = [f"{metric} {name}" for name in names for metric in ("EER %", "minDCF")]
        head = ["experiment", *head, "step", "loss", "utt/s", "commit", "begun (UTC)"]
        rows, remarks, settings = [], [], []
        for run, results in self.rows:
            cells: list[Cell] = []
            for name in names:
                if name not in results:
                    cells += [None, None]
                    continue
                pooled, flaws = results[name].pooled, results[name].lineage.flaws
                star = "*" if flaws else ""  # marks results that are too good
                cells += [f"{percent(pooled.eer)}{star}", f"{decimals(pooled.min_dcf)}{star}"]
                for mark, reasons in flaws.items():
                    remarks += [f"* {mark.upper()}: {run.name}, {name}: {why}" for why in reasons]
            step, steps, loss, speed = run.progress().values()
            cells += [
                f"{step or 0}/{'?' if steps is None else steps}",
                "-" if loss is None else f"{loss:.3f}",
                "-" if speed is None else f"{speed:.0f}",
                ", ".join(run.commits) or "-",
                f"{run.record[0].when:%Y-%m-%d %H:%M}" if run.record else "-",
            ]
            rows.append([run.name, *cells])
            values = ", ".join(f"{key}={_value(run.settings, key)}" for key in self.settings)
            settings.append(f"{run.name}: {values}")
        for name in names:
            if len({results[name].trials for _, results in self.rows if name in results}) > 1:
                remarks.append(f"{name}: the trial lists are different; do not compare the results")
        lines = [Table(head, rows).to_text(), *remarks]
        if self.settings:
            lines += ["", "settings that differ:", *settings]
        return "\n".join(lines)


def list_experiments(experiments: Sequence[Experiment]) -> Listing:
    """Evaluate the ``USUAL`` scores of experiments; sort by their EERs, dev first, then by name."""
    rows = []
    for experiment in experiments:
        paths = {name: experiment.scores[name] for name in USUAL if name in experiment.scores}
        results = {
            name: _readable(lambda path: evaluate(load_system(path).file), path)
            for name, path in paths.items()
        }
        rows.append((experiment, {name: result for name, result in results.items() if result}))

    def rank(row: tuple[Experiment, dict[str, Evaluation]]) -> tuple[list[float], str]:
        run, results = row
        eers = [results[name].pooled.eer if name in results else np.inf for name in USUAL]
        return eers, run.name

    first, *others = experiments
    keys = {key for other in others for key in differences(first.settings, other.settings)}
    return Listing(sorted(rows, key=rank), sorted(keys))


def _value(settings: dict[str, Any], key: str) -> str:
    """Return a setting as a YAML file has it."""
    value = settings.get(key, "-")
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
