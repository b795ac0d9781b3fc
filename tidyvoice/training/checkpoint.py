"""Checkpoints of an experiment: the whole state of a training, whole on disk or absent.

``models/model_EEEE.pt`` is written after epoch E (0: before the first), ``models/last.pt`` between
epochs. Each holds model, loss head, optimizer, schedules, position, random state, speakers,
frontend, settings and a hash of the source: what a run needs to go on as if it had never stopped.
"""

import re
from pathlib import Path
from typing import Any

import torch

from tidyvoice.errors import TidyVoiceError

BETWEEN_EPOCHS = "last.pt"


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The state in ``path``, on the CPU.

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
            f"{path} is damaged ({reason}): remove it and run again from the one before it"
        ) from None


def epoch_checkpoint(experiment: Path, epoch: int) -> Path:
    return experiment / "models" / f"model_{epoch:04d}.pt"


def epoch_checkpoints(experiment: Path) -> dict[int, Path]:
    """Checkpoints written at the end of an epoch, by epoch, in order."""
    found = {}
    for path in sorted((experiment / "models").glob("model_*.pt")):
        match = re.fullmatch(r"model_(\d+)\.pt", path.name)
        if match:
            found[int(match[1])] = path
    return dict(sorted(found.items()))


def newest_checkpoint(experiment: Path) -> tuple[Path, dict[str, Any]] | None:
    """Path and state of the checkpoint that is furthest on, if there is one."""
    paths = list(epoch_checkpoints(experiment).values())[-1:]
    between = experiment / "models" / BETWEEN_EPOCHS
    if between.exists():
        paths.append(between)
    found = [(path, load_checkpoint(path)) for path in paths]
    return max(found, key=lambda pair: pair[1]["iteration"], default=None)


def remove_old_checkpoints(experiment: Path, keep: int, best: int | None = None) -> None:
    """Keep the untrained model, those of the last ``keep`` epochs, and that of epoch ``best``."""
    found = epoch_checkpoints(experiment)
    trained = [epoch for epoch in found if epoch > 0]
    for epoch in trained[:-keep]:
        if epoch != best:
            found[epoch].unlink()
