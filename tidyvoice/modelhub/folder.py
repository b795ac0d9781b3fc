"""Model folders: the weights of a model and the settings that belong to them.

A folder holds ``config.yaml`` with ``model``, ``model_args`` and ``dataset_args`` as WeSpeaker
writes them, and the weights: ``avg_model.pt`` (a flat state dict) or ``model.safetensors``, also in
the sub-folder ``models`` (see ``model_files.find_model``). Optional files are ``speakers.txt``, the
speakers of its training and of its initial weights, ``verifier.json`` (see ``verification``) and
``head.pt``, the weights of the loss (see ``tidyvoice.training.start``).
"""

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import yaml
from torch import Tensor, nn

from tidyvoice.config import ModelSettings
from tidyvoice.errors import TidyVoiceError, summarise
from tidyvoice.files import atomic_path, write_text
from tidyvoice.frontends import FrontendSettings
from tidyvoice.model_files import (
    ACCEPTED,
    ARCHIVES,
    CONFIG_FILE,
    SPEAKERS_FILE,
    VOXBLINK2,
    ModelFiles,
    model_in,
    model_of_weights,
)
from tidyvoice.modelhub.wespeaker import model_of, read_config
from tidyvoice.models import MODELS

REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
# Tensors in a training checkpoint of WeSpeaker that do not belong to the embedding model.
NOT_THE_MODEL = ("projection.", "frontend.")
# The front end in checkpoints of VoxBlink2's own scripts, whose other tensors are WeSpeaker's.
OTHER_FRONTEND = "featCal."
SHOWN = 3  # tensors in an error message


class WeightsMismatch(TidyVoiceError):
    """Weights that do not fit a model."""


def load_model(folder: str | Path) -> tuple[nn.Module, FrontendSettings]:
    """Load the model of a folder in evaluation mode; return it and the settings of its front end.

    Raises:
        WeightsMismatch: the tensors do not fit the model.
        TidyVoiceError: a file is missing, or the model or one of its arguments is unknown.
    """
    files = model_files(folder)
    if files.config is None:
        name = files.weights.name
        raise TidyVoiceError(
            f"{files.folder / CONFIG_FILE} is missing: it names the network of {name}"
        )
    model, frontend = model_of(read_config(files.config), files.config)
    load_weights(model, files.weights)
    return model.eval(), frontend


def model_folder(source: str | Path, revision: str = "main") -> Path:
    """Return the folder ``source``, or the cached folder of a Hugging Face repository.

    Raises:
        TidyVoiceError: see ``huggingface.download``.
    """
    if Path(source).exists() or not REPOSITORY.fullmatch(str(source)):
        return Path(source)
    # Imported here, because a local folder needs no huggingface_hub.
    from tidyvoice.modelhub.huggingface import download

    return download(str(source), revision)


def local_files(source: str | Path) -> list[Path]:
    """Return the files of a model on this machine; none if ``source`` is a repository."""
    path = Path(source)
    if path.is_dir():
        return list(map(Path, model_in(path).paths))
    return [path] if path.exists() else []


def fingerprint(model: nn.Module | Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of the weights of a model: names, types, shapes and bytes.

    It does not depend on the format of the file.

    Args:
        model: the model, or its state dict.
    """
    state = model.state_dict() if isinstance(model, nn.Module) else model
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
        digest.update(values.view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def training_speakers(folder: str | Path) -> list[str] | None:
    """Return the speakers that a model was trained on; None if they are unknown.

    ``model_files.OTHERS`` among them stands for further speakers whose names are unknown.

    Args:
        folder: the folder of the model, or its file of weights.
    """
    if not Path(folder).exists():
        return None
    path = model_files(folder).folder / SPEAKERS_FILE
    return (path.read_text(encoding="utf-8").split() or None) if path.is_file() else None


def save_model_config(
    folder: str | Path,
    model: ModelSettings,
    frontend: FrontendSettings,
    speakers: Sequence[str],
) -> None:
    """Write ``config.yaml``, which WeSpeaker reads too, and ``speakers.txt`` of a model folder."""
    config = {
        "model": model.name,
        "model_args": _model_args(model, frontend.outline().feature_dim),
        "dataset_args": frontend.to_wespeaker(),
    }
    write_text(Path(folder) / SPEAKERS_FILE, "".join(f"{speaker}\n" for speaker in speakers))
    write_text(Path(folder) / CONFIG_FILE, yaml.safe_dump(config, sort_keys=False))


def _model_args(model: ModelSettings, feature_dim: int) -> dict[str, Any]:
    """Return the arguments that differ from the defaults, and the two sizes."""
    defaults, (features,) = MODELS.arguments(model.name, {}), MODELS.provided(model.name)
    changed = {key: value for key, value in model.args.items() if value != defaults[key]}
    return {**changed, "embed_dim": model.embed_dim, features: feature_dim}


def save_torch(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write a file with ``torch.save``, whole or not at all.

    Raises:
        OSError: the disk is full, or writing fails otherwise. torch itself raises a RuntimeError.
    """
    try:
        with atomic_path(path) as partial, open(partial, "wb") as file:
            torch.save(content, file)
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def model_files(path: str | Path) -> ModelFiles:
    """Return the files of the model at ``path``, a folder or a file of weights.

    Raises:
        TidyVoiceError: there is no model; the message explains how to use an archive or a Hugging
            Face repository. See also ``model_files.find_model``.
    """
    path = Path(path)
    if path.is_dir():
        return model_in(path)
    first = f"make a model folder of it with `tidyvoice fetch-model {path} --out FOLDER`"
    if path.is_file():
        if path.name.endswith(ARCHIVES):
            raise TidyVoiceError(f"{path} is an archive: {first}")
        return model_of_weights(path)
    if REPOSITORY.fullmatch(str(path)):
        raise TidyVoiceError(f"no folder {path}; if it is a Hugging Face repository, {first}")
    raise TidyVoiceError(f"no folder {path}: give one with {ACCEPTED}")


def load_weights(model: nn.Module, path: Path) -> None:
    """Load a flat state dict into ``model``, completely or not at all.

    Raises:
        WeightsMismatch: tensors are missing, unknown, or of another shape.
        TidyVoiceError: see ``read_weights``.
    """
    tensors = model.state_dict()
    state = read_weights(path, tensors)
    problems = [f"{name} is missing" for name in tensors if name not in state]
    problems += [f"{name} is unknown" for name in state if name not in tensors]
    problems += [
        f"{name} has the shape {tuple(state[name].shape)}, not {tuple(tensors[name].shape)}"
        for name in tensors
        if name in state and state[name].shape != tensors[name].shape
    ]
    if problems:
        raise WeightsMismatch(f"{path} does not fit the model: {summarise(problems, SHOWN)}")
    model.load_state_dict(state)


def read_weights(path: Path, names: Collection[str]) -> dict[str, Tensor]:
    """Read the tensors of a model by name, without those of its loss and of another front end.

    Args:
        names: of the tensors of our network.

    Raises:
        TidyVoiceError: the file is unreadable, or holds a front end of VoxBlink2's scripts.
    """
    tensors = _read_state(path).items()
    state = {name.removeprefix("module."): tensor for name, tensor in tensors}
    for name in [name for name in state if name.startswith(NOT_THE_MODEL) and name not in names]:
        del state[name]
    if any(name.startswith(OTHER_FRONTEND) for name in state):
        raise TidyVoiceError(f"{path} holds a front end ({OTHER_FRONTEND}*): {VOXBLINK2}")
    return state


def _read_state(path: Path) -> Mapping[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise TidyVoiceError(f"{path} cannot be read as a state dict: {reason}") from None
    if isinstance(state, Mapping) and isinstance(state.get("model"), Mapping):
        state = state["model"]
    if not isinstance(state, Mapping) or not all(map(torch.is_tensor, state.values())):
        keys = f" but {', '.join(map(str, list(state)[:5]))}" if isinstance(state, Mapping) else ""
        raise TidyVoiceError(
            f"{path} holds no state dict{keys}: give a file that torch.save(model.state_dict(), "
            "FILE) wrote"
        )
    return state
