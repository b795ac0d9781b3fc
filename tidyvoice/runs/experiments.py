"""The experiments below a folder, each with its settings, progress and record.

What is damaged is warned of in one line that names the file, and left out: one broken experiment
does not hide the others.
"""

import json
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from tidyvoice.errors import TidyVoiceError, TidyVoiceWarning
from tidyvoice.record import Run, read_record
from tidyvoice.settings import flatten, read_yaml

LOG_TAIL = 2**16  # bytes: some 400 intervals
Read = TypeVar("Read")


@dataclass(frozen=True)
class Progress:
    """How far a training is, as the end of its log says.

    Attributes:
        step: of the last interval.
        loss: mean over the last interval.
        utterances_per_second: median of the last intervals; None where they do not say.
    """

    step: int
    loss: float
    utterances_per_second: float | None


@dataclass(frozen=True)
class Experiment:
    """What a folder holds of a training.

    Attributes:
        name: the folder's path as it was given.
        settings: by dotted key, without the experiment's path.
        progress: None before the first interval.
        record: the runs that led to it, the first one first; empty where nothing was recorded.
        scores: score files by name.
    """

    name: str
    settings: dict[str, Any]
    progress: Progress | None = None
    record: tuple[Run, ...] = ()
    scores: dict[str, Path] = field(default_factory=dict)

    @property
    def steps(self) -> int | None:
        """Steps of the whole training; None where neither record nor settings say."""
        if self.record:
            return self.record[-1].steps
        counts = [self.settings.get(key) for key in ("epochs", "epoch_iterations")]
        return counts[0] * counts[1] if all(type(count) is int for count in counts) else None

    @property
    def sources(self) -> list[str]:
        """The commits that it was run with, in order, each once; "+" marks changed files."""
        return list(dict.fromkeys(str(run.git) for run in self.record if run.git))


def find_experiments(folders: Sequence[Path]) -> list[Experiment]:
    """The experiments in and below the folders, each once, in the order of their paths.

    Raises:
        TidyVoiceError: no such folder, or no experiment in any of them.
    """
    for folder in folders:
        if not folder.is_dir():
            raise TidyVoiceError(f"{folder}: no such folder; give one that holds experiments")
    seen: set[Path] = set()
    found = [experiment for folder in folders for experiment in _below(folder, seen)]
    if not found:
        raise TidyVoiceError(
            f"no experiment below {', '.join(map(str, folders))}: an experiment is a folder with "
            "the config.yaml that `tidyvoice train` writes"
        )
    return found


def read_experiment(folder: Path) -> Experiment | None:
    """What the folder holds; None if it is no experiment, or one whose settings are damaged."""
    config = folder / "config.yaml"
    if not config.is_file():
        return None
    settings = told(_settings, config)
    if settings is None:
        return None
    record = told(read_record, folder) or ()
    progress = told(_progress, folder / "log" / "train.jsonl")
    return Experiment(str(folder), settings, progress, record, _score_files(folder / "scores"))


def told(read: Callable[..., Read], *arguments: Any) -> Read | None:
    """What ``read`` gives; None, and a warning that names the file, where it cannot be read."""
    try:
        return read(*arguments)
    except TidyVoiceError as error:
        said = str(error)
    except OSError as error:
        said = f"{error.filename or arguments[0]}: {error.strerror or error}"
    warnings.warn(f"{said}; left out", TidyVoiceWarning, stacklevel=2)
    return None


def _below(folder: Path, seen: set[Path]) -> Iterator[Experiment]:
    real = folder.resolve()
    # A link may lead to a folder that was looked at, or is being looked at.
    if real in seen:
        return
    seen.add(real)
    experiment = read_experiment(folder)
    if experiment is not None:
        yield experiment
        return
    for inner in told(_folders, folder) or ():
        yield from _below(inner, seen)


def _folders(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.name[0] != "." and entry.is_dir()]
    return [folder / name for name in sorted(names)]


def _settings(config: Path) -> dict[str, Any] | None:
    """The settings by dotted key; None if they are none of an experiment (a model's, say)."""
    values = read_yaml(config)
    if "experiment" not in values:
        return None
    del values["experiment"]
    try:
        return flatten(values)
    except TypeError:
        raise TidyVoiceError(f"{config}: a key is no text; write `key: value`") from None


def _progress(log: Path) -> Progress | None:
    """The end of a log; None without one. A run that was killed may leave half a line."""
    if not log.is_file():
        return None
    with open(log, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - LOG_TAIL))
        lines = file.read().splitlines()
    step, loss, speeds = None, float("nan"), []
    for line in lines:
        with suppress(ValueError, TypeError, KeyError, OverflowError):
            row = json.loads(line)
            # The last line counts: a training that goes on may repeat steps.
            step, loss = int(row["iteration"]), float(row["loss"])
            speeds.append(float(row["utt_per_s"]))
    if step is None:
        if lines:
            raise TidyVoiceError(f"{log}: no line of it is a step of a training")
        return None
    return Progress(step, loss, median(speeds) if speeds else None)


def _score_files(folder: Path) -> dict[str, Path]:
    """Score files by name; of one that is there plain and as gzip, the plain one."""
    return {
        path.name.removesuffix(ending): path
        for ending in (".score.gz", ".score")
        for path in sorted(folder.glob(f"*{ending}"))
        if path.is_file() and path.name[0] != "."
    }
