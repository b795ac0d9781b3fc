"""The log of a training run, ``log/train.jsonl``."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

LOG_KEYS = ("loss", "accuracy", "lr", "margin")


@dataclass(frozen=True)
class TrainingLog:
    """The logged steps, one array [S] a key, by iteration; and the lines that were no JSON."""

    iteration: np.ndarray
    values: dict[str, np.ndarray]
    unreadable: int


def read_log(path: str | Path) -> TrainingLog | None:
    """Read ``log/train.jsonl``; None if there is no such file or no step in it.

    A resumed run appends, so the last line of an iteration counts. A run that was killed may
    leave half a line: such lines are counted, not an error.
    """
    path = Path(path)
    if not path.is_file():
        return None
    steps, unreadable = {}, 0
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            step = json.loads(line)
            steps[int(step["iteration"])] = [float(step.get(key, np.nan)) for key in LOG_KEYS]
        except (ValueError, TypeError, KeyError, AttributeError):
            unreadable += 1
    if not steps:
        return None
    iteration = np.array(sorted(steps))
    columns = np.array([steps[i] for i in iteration]).T
    return TrainingLog(iteration, dict(zip(LOG_KEYS, columns, strict=True)), unreadable)
