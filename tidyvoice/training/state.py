"""The content of a checkpoint, and the settings and data that may resume from it."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from tidyvoice.config import Experiment
from tidyvoice.data.batches import TrainingData
from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import sha256
from tidyvoice.modelhub.folder import model_files
from tidyvoice.settings import differences, read_yaml
from tidyvoice.training.checkpoint import epoch_checkpoints
from tidyvoice.training.head import head_file
from tidyvoice.training.network import Network

if TYPE_CHECKING:
    from tidyvoice.training.trainer import Trainer

# Settings that may change when a training resumes: only rounding and batch norm's statistics
# depend on them. The product of processes and accumulated batches must stay the same.
FREE_SETTINGS = {
    "average", "checkpoint_iterations", "data.num_workers", "device", "experiment",
    "gradient_accumulation", "keep_checkpoints", "log_iterations", "model.activation_checkpointing",
    "model.compile", "reference_batch_size", "timeout_seconds", "validation",
}  # fmt: skip

ANOTHER_FOLDER = (
    "choose another experiment folder (./run.sh --exp DIR, tidyvoice train experiment=DIR), or "
    "rename this one (./run.sh --force --stage N --stop-stage N does)"
)


def checksums(settings: Experiment, data: TrainingData) -> dict[str, str]:
    """Return checksums of the data and the initial model that a training reads."""
    stores = {"data": data.reader, "noise": data.noise, "rirs": data.rirs}
    digests = {name: store.content for name, store in stores.items() if store}
    if settings.model.init:
        digests["initial weights"] = sha256(model_files(settings.model.init).weights)
    if settings.loss.init == "checkpoint":
        digests["initial head"] = sha256(head_file(settings))
    return digests


def state_of(trainer: "Trainer") -> dict[str, Any]:
    """Return all that a training needs to resume as if it had never stopped."""
    device, network = trainer.world.device, trainer.network
    random = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        random["cuda"] = torch.cuda.get_rng_state(device)
    state = {
        "iteration": trainer.iteration,
        "step_chunks": trainer.step_chunks,
        "model": network.model.state_dict(),
        "loss": network.objective.head.state_dict(),
        "terms": network.objective.terms.state_dict(),
        "optimizer": trainer.optimizer.state_dict(),
        "random": random,
        "inputs": trainer.inputs,
        "source": trainer.source,
        "speakers": trainer.data.speakers,
        "frontend": trainer.settings.frontend.model_dump(),
        "settings": trainer.settings.model_dump_json(),
    }
    if network.average:
        state["average"] = network.average.state_dict()
    return state


def restore(
    state: dict[str, Any],
    network: Network,
    optimizer: torch.optim.Optimizer,
    device: torch.device,
) -> int:
    """Load a state into the network and its optimizer; return its iteration."""
    network.model.load_state_dict(state["model"])
    network.objective.head.load_state_dict(state["loss"])
    network.objective.terms.load_state_dict(state["terms"])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["random"]["cpu"])
    if device.type == "cuda" and "cuda" in state["random"]:
        torch.cuda.set_rng_state(state["random"]["cuda"], device)
    network.begin_average()
    if network.average:
        network.average.load_state_dict(state["average"])
    return state["iteration"]


def refuse_other(
    state: dict[str, Any], settings: Experiment, inputs: dict[str, str], step_chunks: int
) -> None:
    """Raise an error that names what differs if settings or data changed since the start."""
    folder = settings.experiment
    refuse_other_settings(json.loads(state["settings"]), settings)
    if state["step_chunks"] != step_chunks:
        raise TidyVoiceError(
            f"{folder} started with steps of {state['step_chunks']} chunks, these would be of "
            f"{step_chunks}: set gradient_accumulation so that its product with the number of "
            "processes is the same"
        )
    other = differences(state["inputs"], inputs)
    if other:
        raise TidyVoiceError(
            f"{folder} started with other {', '.join(other)} than "
            f"{', '.join(map(str, settings.data.train))} and model.init hold now: {ANOTHER_FOLDER}"
        )


def refuse_other_settings(before: Mapping[str, Any], settings: Experiment) -> None:
    """Raise an error that names the settings that changed since the training started."""
    changed = [
        f"{key} was {old}, is {new}"
        for key, (old, new) in differences(before, settings.model_dump(mode="json")).items()
        if not any(f"{key}.".startswith(f"{free}.") for free in FREE_SETTINGS)
    ]
    if changed:
        raise TidyVoiceError(
            f"{settings.experiment} started with other settings ({'; '.join(changed)}): "
            f"{ANOTHER_FOLDER}"
        )


def check_settings_of(settings: Experiment) -> None:
    """Raise an error if the experiment folder holds a training with other settings."""
    config = settings.experiment / "config.yaml"
    if epoch_checkpoints(settings.experiment) and config.is_file():
        refuse_other_settings(read_yaml(config), settings)
