"""The model of an experiment: the mean of its last checkpoints, or its best checkpoint."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tidyvoice.config import load_experiment
from tidyvoice.errors import TidyVoiceError
from tidyvoice.model_files import OTHERS, VERIFIER_FILE
from tidyvoice.modelhub.folder import fingerprint, save_model_config, save_torch, training_speakers
from tidyvoice.modelhub.tensors import misfits
from tidyvoice.training import checkpoint
from tidyvoice.training.checkpoint import REMOVE, epoch_checkpoints, load_checkpoint
from tidyvoice.training.start import save_head
from tidyvoice.training.validation import best_epoch
from tidyvoice.verification.verifier import Verifier


def average_checkpoints(
    experiment: str | Path, last: int | None = None, unfinished: bool = False, best: bool = False
) -> tuple[Path, list[int]]:
    """Write the model folder of an experiment; return it and the epochs that were averaged.

    The options are those of `tidyvoice average`. A ``verifier.json`` of other weights is removed.
    """
    experiment = Path(experiment)
    if not (experiment / "config.yaml").is_file():
        raise TidyVoiceError(f"{experiment}: no training has started here: train it first")
    settings = load_experiment(experiment / "config.yaml")
    paths = epoch_checkpoints(experiment)
    reached = max(paths, default=0)
    if reached < settings.epochs and not unfinished:
        where = f"epoch {reached} of {settings.epochs}"
        raise TidyVoiceError(f"{experiment} is at {where}: add --unfinished")
    if best:
        epoch = best_epoch(experiment, paths)
        if epoch is None:
            raise TidyVoiceError(f"{experiment} validated no epoch: leave --best out")
        epochs = [epoch]
    else:
        last = last or settings.average
        # The best epoch also stays on disk, however old; epoch 0 is never part of a mean.
        first = max(reached - last + 1, 1) if last > 1 else reached
        epochs = [epoch for epoch in range(first, reached + 1) if epoch in paths]
        if len(epochs) < last:
            problem = f"has checkpoints of the last {len(epochs)} epochs, cannot average {last}"
            fix = "give a smaller --last, or train longer with a higher keep_checkpoints"
            raise TidyVoiceError(f"{experiment} {problem}: {fix}")
    model: dict[str, Tensor] = {}
    head: dict[str, Tensor] = {}
    with torch.device("meta"):
        outline = settings.build_model().state_dict()
    classes = None
    for epoch in epochs:
        state = load_checkpoint(paths[epoch])
        checkpoint.refuse_other_settings(json.loads(state["settings"]), settings)
        weights, before = _weights(state), classes
        classes = state["speakers"], {name: each.shape for name, each in state["loss"].items()}
        if misfits(weights, outline) or before not in (None, classes):
            raise TidyVoiceError(f"{paths[epoch]} has other tensors or speakers: {REMOVE}")
        _add(model, weights, len(epochs))
        _add(head, state["loss"], len(epochs))
    folder = experiment / "models"
    speakers = set(state["speakers"])
    if settings.model.init:
        # An initial model that does not list its speakers may have been trained on anybody.
        speakers |= set(training_speakers(settings.model.init) or [OTHERS])
    save_model_config(folder, settings.model, settings.frontend, sorted(speakers))
    save_head(folder, head, state["speakers"], settings.data.speeds)
    try:
        verifier = Verifier.load(folder)
        fits = verifier is None or verifier.model == fingerprint(model, settings.frontend)
    except TidyVoiceError:  # of an older version
        fits = False
    if not fits:
        (folder / VERIFIER_FILE).unlink()
    save_torch(folder / "avg_model.pt", model)
    return folder, epochs


def _add(total: dict[str, Tensor], tensors: Mapping[str, Tensor], count: int) -> None:
    """Add one of ``count`` checkpoints to a mean; batch norm's counters are replaced."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point():
            tensor = tensor / count
            total[name] = total[name] + tensor if name in total else tensor
        else:
            total[name] = tensor


def _weights(state: dict[str, Any]) -> dict[str, Tensor]:
    """Return the weights of a checkpoint: their moving average if there is one."""
    if "average" not in state:
        return state["model"]
    of_average = ((name.removeprefix("module."), t) for name, t in state["average"].items())
    return {name: tensor for name, tensor in of_average if name in state["model"]}
