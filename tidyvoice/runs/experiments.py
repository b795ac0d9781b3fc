"""Reading experiment folders: settings, progress, record and score files.

A damaged file gives one warning that names it and is left out, so that one broken experiment does
not hide the others.
"""

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from tidyvoice.errors import TidyVoiceError, TidyVoiceWarning
from tidyvoice.record import Run, read_record
from tidyvoice.report.training_log import TrainingLog, log_path, read_log
from tidyvoice.settings import flatten, read_yaml

INTERVALS = 400  # at the end of the log, for the median speed
Result = TypeVar("Result")


@dataclass(frozen=True)
class Experiment:
    """Contents of an experiment folder.

    Attributes:
        name: the folder's path as the user gave it.
        settings: by dotted key, without the path of the experiment.
        log: None before the first logged step.
        record: the training runs, the first one first; empty without record.json.
        scores: score files by name.
    """

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
    def step(self) -> int | None:
        """The last logged step."""
        return None if self.log is None else int(self.log.iteration[-1])

    @property
    def loss(self) -> float | None:
        """The mean loss of the last logging interval; None if it is not finite."""
        value = float("nan") if self.log is None else float(self.log.values["loss"][-1])
        return value if np.isfinite(value) else None

    @property
    def utterances_per_second(self) -> float | None:
        """The median speed of the last logging intervals."""
        speeds = np.array([]) if self.log is None else self.log.values["utt_per_s"][-INTERVALS:]
        speeds = speeds[np.isfinite(speeds)]
        return float(np.median(speeds)) if len(speeds) else None

    @property
    def commits(self) -> list[str]:
        """The commits that it was trained with, in order; "+" marks changed files."""
        return list(dict.fromkeys(str(run.git) for run in self.record if run.git))

    def facts(self) -> dict[str, str]:
        """Return progress, commits and start for a table."""
        speed = self.utterances_per_second
        return {
            "step": f"{self.step or 0}/{'?' if self.steps is None else self.steps}",
            "loss": "-" if self.loss is None else f"{self.loss:.3f}",
            "utt/s": "-" if speed is None else f"{speed:.0f}",
            "commit": ", ".join(self.commits) or "-",
            "begun (UTC)": f"{self.record[0].when:%Y-%m-%d %H:%M}" if self.record else "-",
        }


def find_experiments(folders: Sequence[Path]) -> list[Experiment]:
    """Return the experiments in and below the folders, each once, in the order of their paths.

    Raises:
        TidyVoiceError: no such folder, or no experiment in any of them.
    """
    for folder in folders:
        if not folder.is_dir():
            raise TidyVoiceError(f"{folder}: no such folder; give a folder with experiments")
    seen: set[Path] = set()
    experiments = [experiment for folder in folders for experiment in _below(folder, seen)]
    if not experiments:
        raise TidyVoiceError(
            f"no experiment below {', '.join(map(str, folders))}: an experiment is a folder with "
            "the config.yaml of a training"
        )
    return experiments


def read_experiment(folder: Path) -> Experiment | None:
    """Read an experiment folder; None if it is not one."""
    config = folder / "config.yaml"
    settings = readable(_settings, config) if config.is_file() else None
    if settings is None:
        return None
    record = readable(read_record, folder) or ()
    log = readable(_log, log_path(folder))
    # The plain file, read last, replaces the gzip file of the same name.
    scores = {
        path.name.removesuffix(ending): path
        for ending in (".score.gz", ".score")
        for path in sorted((folder / "scores").glob(f"*{ending}"))
        if path.is_file() and path.name[0] != "."
    }
    return Experiment(str(folder), settings, log, record, scores)


def _below(folder: Path, seen: set[Path]) -> Iterator[Experiment]:
    real = folder.resolve()
    if real in seen:  # a link can lead back to a folder above
        return
    seen.add(real)
    experiment = read_experiment(folder)
    if experiment is not None:
        yield experiment
        return
    for inner in readable(os.listdir, folder) or ():
        if inner[0] != "." and (folder / inner).is_dir():
            yield from _below(folder / inner, seen)


def readable(read: Callable[..., Result], *arguments: Any, **options: Any) -> Result | None:
    """Return what ``read`` returns; None, and a warning that names the file, if it fails."""
    try:
        return read(*arguments, **options)
    except TidyVoiceError as error:
        problem = str(error)
    except (OSError, EOFError) as error:
        problem = f"{getattr(error, 'filename', None) or arguments[0]}: {error}"
    warnings.warn(f"{problem}; left out", TidyVoiceWarning, stacklevel=2)
    return None


def _settings(config: Path) -> dict[str, Any] | None:
    """Return the settings by dotted key; None if they are not those of an experiment."""
    values = read_yaml(config)
    if "experiment" not in values:
        return None
    del values["experiment"]
    try:
        return flatten(values)
    except TypeError:
        raise TidyVoiceError(f"{config}: a key is not text; write `key: value`") from None


def _log(path: Path) -> TrainingLog | None:
    log = read_log(path)
    if log is None and path.is_file() and path.stat().st_size:
        raise TidyVoiceError(f"{path}: no line is a step of a training")
    return log
