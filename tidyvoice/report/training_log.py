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
    rows: list[list[float]] = []
    unreadable = 0
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            step = json.loads(line)
            values = [float(step.get(key, np.nan)) for key in LOG_KEYS]
            rows.append([float(step["iteration"]), *values])
        except (ValueError, TypeError, KeyError, AttributeError):
            unreadable += 1
    if not rows:
        return None
    iteration, *values = np.array(rows).T
    later = np.minimum.accumulate(np.append(iteration[1:], np.inf)[::-1])[::-1]
    columns = {key: v[iteration < later] for key, v in zip(LOG_KEYS, values, strict=True)}
    return TrainingLog(iteration[iteration < later].astype(int), columns, unreadable)
