"""Checkpoint files of an experiment, and the settings and data that may resume from them.

``model_EEEE.pt`` is written after epoch E (0: before the first), ``last.pt`` between epochs.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tidyvoice.config import Experiment
from tidyvoice.data.shards import SUMMARY
from tidyvoice.errors import TidyVoiceError, reading
from tidyvoice.modelhub.tensors import read_saved
from tidyvoice.settings import differences, read_yaml
from tidyvoice.training.network import Network

BETWEEN_EPOCHS = "last.pt"
WANTED = {
    "iteration": int, "epoch_iterations": int, "step_chunks": int, "model": Tensor, "loss": Tensor,
    "terms": Tensor, "average?": Tensor, "optimizer": dict, "random": Tensor, "inputs": dict,
    "source": str, "speakers": list, "settings": str,
}  # fmt: skip
REMOVE = "delete it; training then resumes from the checkpoint before it"
OTHER_VERSION = "finish the training with that version, or start again in another folder"

# Settings that may change when a training resumes: only rounding and batch norm's statistics
# depend on them. The product of processes and accumulated batches must stay the same, and so must
# the list of the validation, because EERs of its epochs are compared.
FREE_SETTINGS = {
    "average", "checkpoint_iterations", "data.num_workers", "device", "experiment",
    "gradient_accumulation", "keep_checkpoints", "log_iterations", "model.activation_checkpointing",
    "model.compile", "reference_batch_size", "timeout_seconds", "tuning", "validation.every_epochs",
}  # fmt: skip

ANOTHER_FOLDER = "choose another folder (./run.sh --exp DIR), or rename it (./run.sh --force does)"


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Load a checkpoint on the CPU, and check that its parts agree with one another."""
    state = read_saved(path, WANTED, "checkpoint", REMOVE, OTHER_VERSION)
    with reading(path, "checkpoint", REMOVE):
        settings, iteration = json.loads(state["settings"]), state["iteration"]
        if not 0 <= iteration <= settings["epochs"] * state["epoch_iterations"]:
            raise ValueError(f"step {iteration} is beyond the last one")
        if path.name != file_name(iteration, state["epoch_iterations"]):
            raise ValueError(f"its name does not fit step {iteration}")
        if rows_of_speaker(state["speakers"], state["loss"]) % len(settings["data"]["speeds"]):
            raise ValueError("the rows of the head do not fit the number of speeds")
    return state


def rows_of_speaker(speakers: list[str], head: Mapping[str, Tensor]) -> int:
    """Return the rows of a head's weight for each speaker; a ValueError if they differ."""
    if len({name for name in speakers if isinstance(name, str)}) != len(speakers):
        raise ValueError("the speakers are not distinct names")
    rows, _ = head["weight"].shape
    if not rows or rows % len(speakers):
        raise ValueError(f"{rows} weights of {len(speakers)} speakers")
    return rows // len(speakers)


def file_name(iteration: int, epoch_iterations: int) -> str:
    """Return the name of the checkpoint of an iteration."""
    epoch, rest = divmod(iteration, epoch_iterations)
    return BETWEEN_EPOCHS if rest else f"model_{epoch:04d}.pt"


def epoch_checkpoints(experiment: Path) -> dict[int, Path]:
    """Return the checkpoints at the end of an epoch, by epoch, in order."""
    paths = (experiment / "models").glob("model_*.pt")
    matches = {path: re.fullmatch(r"model_(\d+)\.pt", path.name) for path in paths}
    return dict(sorted((int(match[1]), path) for path, match in matches.items() if match))


def newest(experiment: Path) -> tuple[Path, dict[str, Any]] | None:
    """Return path and state of the checkpoint with the highest iteration; None without one."""
    paths = list(epoch_checkpoints(experiment).values())[-1:]
    between = experiment / "models" / BETWEEN_EPOCHS
    if between.exists():
        paths.append(between)
    states = [(path, load_checkpoint(path)) for path in paths]
    return max(states, key=lambda pair: pair[1]["iteration"], default=None)


def remove_old(experiment: Path, keep: int, best: int | None = None) -> None:
    """Delete checkpoints, but for epoch 0, the last ``keep`` epochs and epoch ``best``."""
    for epoch, path in list(epoch_checkpoints(experiment).items())[:-keep]:
        if epoch not in (0, best):
            path.unlink()


def snapshot(
    network: Network, optimizer: torch.optim.Optimizer, device: torch.device
) -> dict[str, Any]:
    """Return the weights, the optimizer's state and that of the random numbers."""
    random = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        random["cuda"] = torch.cuda.get_rng_state(device)
    state = {name: part.state_dict() for name, part in _parts(network, optimizer).items()}
    return {**state, "random": random}


def restore(
    state: dict[str, Any], network: Network, optimizer: torch.optim.Optimizer, device: torch.device
) -> None:
    """Load a snapshot; one that does not fit raises an error of any type."""
    network.begin_average()
    saved, parts = state["optimizer"]["state"], _parts(network, optimizer)
    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    for place, values in saved.items():  # torch does not compare these shapes
        for value in filter(torch.is_tensor, values.values()):
            if value.dim() and value.shape != parameters[place].shape:
                raise ValueError(f"optimizer.state.{place} has the shape {tuple(value.shape)}")
    # The settings decide on the groups, not the file.
    groups = optimizer.state_dict()["param_groups"]
    for name, part in parts.items():
        values = {"state": saved, "param_groups": groups} if part is optimizer else state[name]
        part.load_state_dict(values)
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if torch.is_tensor(value) and value.dim() == 4:  # fused optimizers demand its layout
                values[name] = torch.empty_like(parameter).copy_(value)
    torch.set_rng_state(state["random"]["cpu"])
    if device.type == "cuda" and "cuda" in state["random"]:
        torch.cuda.set_rng_state(state["random"]["cuda"], device)


def _parts(network: Network, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    objective = network.objective
    parts = {"model": network.model, "loss": objective.head, "terms": objective.terms}
    return {**parts, "optimizer": optimizer, **network.averages}


def refuse_other(
    state: dict[str, Any], settings: Experiment, inputs: dict[str, str], step_chunks: int
) -> None:
    """Raise an error that names what differs if settings or data changed since the start."""
    folder = settings.experiment
    refuse_other_settings(json.loads(state["settings"]), settings)
    if state["step_chunks"] != step_chunks:
        problem = f"started with steps of {state['step_chunks']} chunks, not {step_chunks}"
        fix = "keep the product of gradient_accumulation and the number of processes"
        raise TidyVoiceError(f"{folder} {problem}: {fix}")
    if other := differences(state["inputs"], inputs):
        problem = f"started with other {', '.join(other)} than there are now"
        raise TidyVoiceError(f"{folder} {problem}: {ANOTHER_FOLDER}")


def check_folder(settings: Experiment) -> None:
    """Raise an error if the folder is one of data, or holds a training with other settings."""
    folder = settings.experiment
    places = (folder.absolute(), *folder.absolute().parents)
    if (folder / "wav.scp").exists() or any((place / SUMMARY).exists() for place in places):
        raise TidyVoiceError(f"{folder} is a data folder or lies in its shards: change experiment")
    config = folder / "config.yaml"
    if epoch_checkpoints(folder) and config.is_file():
        refuse_other_settings(read_yaml(config), settings)


def refuse_other_settings(before: Mapping[str, Any], settings: Experiment) -> None:
    """Raise an error that names the settings that differ from those of the start."""
    changed = [
        f"{key} was {old}, is {new}"
        for key, (old, new) in differences(before, settings.model_dump(mode="json")).items()
        if not any(f"{key}.".startswith(f"{free}.") for free in FREE_SETTINGS)
    ]
    if changed:
        problem = f"started with other settings ({'; '.join(changed)})"
        raise TidyVoiceError(f"{settings.experiment} {problem}: {ANOTHER_FOLDER}")
