"""The log of a training, ``log/train.jsonl``."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import Field, ValidationError, create_model

LONGEST_LINE = 2**16  # bytes
LARGEST = 1e30  # of the values: figures of larger ones overflow
LOG_KEYS = dict.fromkeys(("loss", "accuracy", "lr", "margin", "utt_per_s"), (float, np.nan))
_Step = create_model("_Step", iteration=(int, Field(ge=0, lt=2**53)), **LOG_KEYS)


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
    with open(path, "rb") as file:
        for line in iter(lambda: file.readline(LONGEST_LINE), b""):
            try:
                rows.append(list(_Step.model_validate_json(line).model_dump().values()))
            except ValidationError:
                unreadable += 1
    if not rows:
        return None
    iteration, *values = np.array(rows).T
    values = np.where(np.abs(values) < LARGEST, values, np.nan)
    later = np.minimum.accumulate(np.append(iteration[1:], np.inf)[::-1])[::-1]
    columns = {key: v[iteration < later] for key, v in zip(LOG_KEYS, values, strict=True)}
    return TrainingLog(iteration[iteration < later].astype(int), columns, unreadable)
