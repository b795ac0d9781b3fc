"""The log of a training, ``log/train.jsonl``."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

LOG_KEYS = ("loss", "accuracy", "lr", "margin", "utt_per_s")


@dataclass(frozen=True)
class TrainingLog:
    """The logged steps, one array [S] a key, by iteration; and the number of unreadable lines."""

    iteration: np.ndarray
    values: dict[str, np.ndarray]
    unreadable: int


def log_path(experiment: Path) -> Path:
    """Return where an experiment keeps its log."""
    return experiment / "log" / "train.jsonl"


def read_log(path: Path) -> TrainingLog | None:
    """Read the log; None if there is no such file or no step in it.

    A resumed run appends to the log and repeats the steps after its checkpoint, so a line replaces
    all steps from its iteration on. A run that was killed may leave half a line: such lines are
    counted and skipped.
    """
    if not path.is_file():
        return None
    steps: dict[int, list[float]] = {}
    unreadable = 0
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            step = json.loads(line)
            iteration = int(step["iteration"])
            values = [float(step.get(key, np.nan)) for key in LOG_KEYS]
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
            unreadable += 1
            continue
        while steps and next(reversed(steps)) >= iteration:
            steps.popitem()
        steps[iteration] = values
    if not steps:
        return None
    columns = dict(zip(LOG_KEYS, np.array(list(steps.values())).T, strict=True))
    return TrainingLog(np.array(list(steps)), columns, unreadable)
