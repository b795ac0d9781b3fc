"""Model folders: the weights of a model, ``config.yaml`` with its settings, and optional files.

These are ``speakers.txt``, the speakers of its training and of its initial weights,
``verifier.json`` (see ``verification``) and ``head.pt`` (see ``tidyvoice.training.start``).
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import yaml
from torch import Tensor, nn

from tidyvoice.config import ModelSettings
from tidyvoice.errors import TidyVoiceError, reading
from tidyvoice.files import atomic_path, write_text
from tidyvoice.frontends import FRONTENDS, FrontendSettings
from tidyvoice.model_files import (
    ACCEPTED,
    ARCHIVES,
    CONFIG_FILE,
    INNER,
    SPEAKERS_FILE,
    ModelFiles,
    model_in,
)
from tidyvoice.modelhub.tensors import misfits, read_torch, refuse_defects
from tidyvoice.modelhub.wespeaker import builder_of
from tidyvoice.models import MODELS
from tidyvoice.settings import read_yaml

REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
# Tensors in a training checkpoint of WeSpeaker that do not belong to the embedding model.
NOT_THE_MODEL = ("projection.", "frontend.")
ANOTHER_FILE = "give a file that torch.save(model.state_dict(), FILE) wrote, or fetch it again"
ENDINGS = (".json", ".yaml", ".pt", ".safetensors", ".txt", ".onnx")  # of a model's own files


def load_model(folder: str | Path) -> tuple[nn.Module, FrontendSettings]:
    """Load the model of a folder, in evaluation mode, and the settings of its front end."""
    files = model_files(folder)
    if files.config is None:
        path, name = files.folder / CONFIG_FILE, files.weights.name
        raise TidyVoiceError(f"{path} is missing: add the one that names the network of {name}")
    build, frontend = builder_of(read_yaml(files.config), files.config)
    with torch.device("meta"):  # no memory is allocated before the weights are known to fit
        outline = build()
    state = fitting_weights(outline, files.weights)
    model = build()
    model.load_state_dict(state)
    return model.eval(), frontend


def model_folder(source: str | Path, revision: str = "main") -> Path:
    """Return the folder ``source``, or the cached folder of a Hugging Face repository."""
    if Path(source).exists() or not REPOSITORY.fullmatch(str(source)):
        return Path(source)
    # Imported here, because a local folder needs no huggingface_hub.
    from tidyvoice.modelhub.huggingface import download

    return download(str(source), revision)


def local_files(source: str | Path) -> list[Path]:
    """Return the files of a model on this machine; none if ``source`` is a repository."""
    if not Path(source).exists():
        return []
    model = model_files(source)
    others = model.folder.iterdir() if Path(source).is_dir() else ()
    return [*model.paths, *(path for path in others if path.suffix in ENDINGS)]


def fingerprint(model: nn.Module | Mapping[str, Tensor], frontend: FrontendSettings) -> str:
    """Return the SHA-256 of all that the embeddings of a model depend on.

    These are names, types, shapes and bytes of its tensors, and the settings of its front end.
    """
    state = model.state_dict() if isinstance(model, nn.Module) else model
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
        digest.update(values.view(-1).view(torch.uint8).numpy())
    training_only = FRONTENDS[frontend.name].training_only
    args = {key: value for key, value in frontend.args.items() if key not in training_only}
    digest.update(json.dumps([frontend.name, args], sort_keys=True).encode())
    return digest.hexdigest()


def training_speakers(folder: str | Path) -> list[str] | None:
    """Return the speakers that a model was trained on; None if unknown. See ``OTHERS``."""
    if not Path(folder).exists():
        return None
    path = model_files(folder).folder / SPEAKERS_FILE
    if not path.is_file():
        return None
    with reading(path, "list of speakers", "make the model folder again"):
        lines = [line.strip() for line in path.read_text(encoding="utf-8").split("\n")]
        for number, line in enumerate(lines, 1):
            if len(line.split()) > 1 or not line.isprintable():
                raise ValueError(f"line {number} is not a name")
        return list(filter(None, lines)) or None


def save_model_config(
    folder: str | Path, model: ModelSettings, frontend: FrontendSettings, speakers: Sequence[str]
) -> None:
    """Write ``config.yaml``, which WeSpeaker reads too, and ``speakers.txt`` of a model folder."""
    defaults, (features,) = MODELS.arguments(model.name, {}), MODELS.provided(model.name)
    changed = {key: value for key, value in model.args.items() if value != defaults[key]}
    sizes = {"embed_dim": model.embed_dim, features: frontend.outline().feature_dim}
    config = {"model": model.name, "model_args": {**changed, **sizes}}
    config["dataset_args"] = frontend.to_wespeaker()
    write_text(Path(folder) / SPEAKERS_FILE, "".join(f"{speaker}\n" for speaker in speakers))
    write_text(Path(folder) / CONFIG_FILE, yaml.safe_dump(config, sort_keys=False))


def save_torch(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write a file with ``torch.save``, whole or not at all."""
    try:
        with atomic_path(path) as partial, open(partial, "wb") as file:
            torch.save(content, file)
    except RuntimeError as error:
        # torch hides that the disk is full.
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def model_files(path: str | Path) -> ModelFiles:
    """Return the files of the model at ``path``, a model folder or a file of weights."""
    path = Path(path)
    if path.is_dir():
        return model_in(path)
    if path.name.endswith(ARCHIVES) or not path.is_file():
        remote = path.is_file() or REPOSITORY.fullmatch(str(path))
        fix = f"fetch one first with `tidyvoice fetch-model {path} --out FOLDER`" if remote else ""
        raise TidyVoiceError(f"{path}: no model folder: {fix or f'give one with {ACCEPTED}'}")
    folders = [path.parent, *([path.parent.parent] if path.parent.name == INNER else [])]
    configs = (folder / CONFIG_FILE for folder in folders)
    return ModelFiles(path, next((config for config in configs if config.is_file()), None))


def fitting_weights(model: nn.Module, path: Path, fix: str = ANOTHER_FILE) -> dict[str, Tensor]:
    """Read a flat state dict that fits ``model``; otherwise ``fix`` says what to do."""
    tensors = model.state_dict()
    state = read_weights(path, tensors)
    if problems := misfits(state, tensors):
        raise TidyVoiceError(f"{path} does not fit the model: {problems}: {fix}")
    return state


def read_weights(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Read the weights of a model that has ``tensors``, without those of a loss beside it."""
    if path.suffix == ".safetensors":
        with reading(path, "file of weights", ANOTHER_FILE):
            content = safetensors.torch.load_file(path)
    else:
        content = read_torch(path, "file of weights", ANOTHER_FILE)
    if isinstance(content, Mapping):
        content = content.get("model", content)
    if not isinstance(content, Mapping) or not all(map(torch.is_tensor, content.values())):
        raise TidyVoiceError(f"{path} holds no state dict: {ANOTHER_FILE}")
    state: dict[str, Tensor] = {}
    for key, tensor in content.items():
        name = str(key).removeprefix("module.")
        if name in state:
            raise TidyVoiceError(f"{path} holds {name} twice: {ANOTHER_FILE}")
        if name in tensors or not name.startswith(NOT_THE_MODEL):
            state[name] = tensor
        if name in tensors and tensors[name].is_floating_point() and not tensor.is_floating_point():
            raise TidyVoiceError(f"{path}: {name} is of {tensor.dtype}: {ANOTHER_FILE}")
    refuse_defects(path, state, ANOTHER_FILE)
    return state
