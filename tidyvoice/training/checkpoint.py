"""Checkpoint files of an experiment.

``models/model_EEEE.pt`` is written after epoch E (0: before the first), ``models/last.pt`` between
epochs. A checkpoint is written completely or not at all. ``tidyvoice.training.state`` says what it
holds.
"""

import re
from pathlib import Path
from typing import Any

import torch

from tidyvoice.errors import TidyVoiceError

BETWEEN_EPOCHS = "last.pt"


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Load a checkpoint on the CPU.

    Raises:
        TidyVoiceError: the file is damaged.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise TidyVoiceError(
            f"{path} is damaged ({reason}): remove it, then run again to resume from the one "
            "before it"
        ) from None


def epoch_checkpoint(experiment: Path, epoch: int) -> Path:
    return experiment / "models" / f"model_{epoch:04d}.pt"


def epoch_checkpoints(experiment: Path) -> dict[int, Path]:
    """Return the checkpoints at the end of an epoch, by epoch, in order."""
    checkpoints = {}
    for path in sorted((experiment / "models").glob("model_*.pt")):
        match = re.fullmatch(r"model_(\d+)\.pt", path.name)
        if match:
            checkpoints[int(match[1])] = path
    return dict(sorted(checkpoints.items()))


def newest_checkpoint(experiment: Path) -> tuple[Path, dict[str, Any]] | None:
    """Return path and state of the checkpoint with the highest iteration; None without one."""
    paths = list(epoch_checkpoints(experiment).values())[-1:]
    between = experiment / "models" / BETWEEN_EPOCHS
    if between.exists():
        paths.append(between)
    states = [(path, load_checkpoint(path)) for path in paths]
    return max(states, key=lambda pair: pair[1]["iteration"], default=None)


def remove_old_checkpoints(experiment: Path, keep: int, best: int | None = None) -> None:
    """Delete checkpoints, but for epoch 0, the last ``keep`` epochs and epoch ``best``."""
    checkpoints = epoch_checkpoints(experiment)
    trained = [epoch for epoch in checkpoints if epoch > 0]
    for epoch in trained[:-keep]:
        if epoch != best:
            checkpoints[epoch].unlink()
