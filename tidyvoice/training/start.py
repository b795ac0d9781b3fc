"""The start of a training: checks without data, initial weights, and classes of the loss.

``head.pt`` of a model folder holds the speakers in the order of the classes, the number of weight
rows of a class, and the tensors; of several speeds, those of the one nearest 1.0.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from tidyvoice.audio import load_torchaudio
from tidyvoice.config import Experiment
from tidyvoice.data.batches import TrainingData
from tidyvoice.distributed import World
from tidyvoice.errors import TidyVoiceError, reading, summarise
from tidyvoice.files import sha256
from tidyvoice.frontends import FRONTENDS
from tidyvoice.losses import Head
from tidyvoice.model_files import HEAD_FILE
from tidyvoice.modelhub.folder import fitting_weights, model_files, read_weights, save_torch
from tidyvoice.modelhub.tensors import FORMAT, misfits, read_saved
from tidyvoice.modelhub.wespeaker import frontend_settings, section
from tidyvoice.settings import differences, read_yaml
from tidyvoice.training.checkpoint import check_folder, rows_of_speaker
from tidyvoice.training.network import Network, build_objective, parameter_groups

MAKE_AGAIN = "make it again with `tidyvoice average`"
SAMPLE = 256  # chunks that the parameters of a loss beside its weights are fitted to


def check_experiment(settings: Experiment, initial: bool = False) -> None:
    """Check whatever can go wrong without data; with ``initial`` also load the initial model."""
    check_folder(settings)
    with torch.device("meta"):  # some arguments are only checked when the network is built
        model = settings.build_model()
        # The names of the parameters do not depend on the number of classes.
        objective = build_objective(settings, num_classes=10_000, num_languages=2)
    parameter_groups(settings, Network(model, objective, bf16=False, ema_decay=None))
    if set(settings.data.speeds) != {1.0}:
        load_torchaudio()
    if initial and settings.model.init:
        if settings.loss.init == "checkpoint":
            head_file(settings)
        from_model(settings.build_model(), settings)


def checksums(settings: Experiment, data: TrainingData) -> dict[str, str]:
    """Return checksums of the data and the initial model that a training reads."""
    stores = {"data": data.reader, "noise": data.noise, "rirs": data.rirs}
    digests = {name: store.content for name, store in stores.items() if store}
    if settings.model.init:
        digests["initial weights"] = sha256(model_files(settings.model.init).weights)
    if settings.loss.init == "checkpoint":
        digests["initial head"] = sha256(head_file(settings))
    return digests


def from_model(model: nn.Module, settings: Experiment) -> list[str]:
    """Load ``settings.model.init`` into the model; return what to log about it."""
    files = model_files(settings.model.init)
    # A lone file of weights does not say which features they were trained on.
    if files.config is not None:
        _refuse_other_frontend(files.config, settings)
    report = [f"the model starts from {files.weights}"]
    if settings.model.init_partial:
        return report + _load_fitting(model, files.weights)
    fix = "set model.name and model.args as in its config.yaml, or model.init_partial=true"
    model.load_state_dict(fitting_weights(model, files.weights, fix))
    return report


def _load_fitting(model: nn.Module, path: Path) -> list[str]:
    """Load the tensors whose names and shapes fit; return which were kept, dropped and new."""
    tensors = model.state_dict()
    state = read_weights(path, tensors)
    kept = [name for name in tensors if name in state and state[name].shape == tensors[name].shape]
    if not kept:
        raise TidyVoiceError(f"{path}: no tensor fits the model: set model.init to another one")
    model.load_state_dict({name: state[name] for name in kept}, strict=False)
    dropped = [name for name in state if name not in kept]
    new = [name for name in tensors if name not in kept]
    groups = {"kept": kept, "dropped": dropped, "new": new}
    return [f"{group}: {summarise(names) or 'none'}" for group, names in groups.items()]


def _refuse_other_frontend(config: Path, settings: Experiment) -> None:
    """Raise an error if the model was trained on other features."""
    frontend = frontend_settings(section(read_yaml(config), "dataset_args", config), config)
    changed = differences(frontend.model_dump(), settings.frontend.model_dump())
    for key in FRONTENDS[frontend.name].training_only:
        changed.pop(f"args.{key}", None)
    if changed:
        listed = "; ".join(f"{key} {old}, here {new}" for key, (old, new) in changed.items())
        raise TidyVoiceError(f"{config}: another front end ({listed}): set frontend accordingly")


@torch.no_grad()
def from_means(head: Head, batches: Iterable[tuple[Tensor, Tensor]], world: World) -> int:
    """Set each class weight to the mean embedding of its class; return how many classes were set.

    The mean of the means is subtracted: raw embeddings share a large common part. With several
    weights a class (sub-centres), only the first is set. Further parameters (SphereFace2's bias)
    are fitted to some embeddings. ``batches`` are embeddings [B x D] and classes [B] of this
    process' share of the data.
    """
    weight = head.weight.detach()[:: head.rows_per_class]
    sums, seen = torch.zeros_like(weight), weight.new_zeros(len(weight), dtype=torch.bool)
    sample: list[tuple[Tensor, Tensor]] = []
    for embeddings, labels in batches:
        sums.index_add_(0, labels, normalize(embeddings.float()))
        seen[labels] = True
        if len(sample) * len(embeddings) * world.size < SAMPLE:
            sample.append((embeddings.cpu(), labels.cpu()))
    sums, seen = world.mean(sums), world.mean(seen.float()) > 0  # only the direction matters
    means = normalize(sums)[seen]
    lengths = weight[seen].norm(dim=1, keepdim=True)
    weight[seen] = normalize(means - means.mean(dim=0)) * lengths
    sample = [pair for part in world.gather(sample) for pair in part]
    with torch.enable_grad():
        head.fit(*(torch.cat(part).to(weight.device) for part in zip(*sample, strict=True)))
    return int(seen.sum())


def head_file(settings: Experiment) -> Path:
    """Return the path of the head of the initial model."""
    path = model_files(settings.model.init).folder / HEAD_FILE
    if not path.is_file():
        fix = "make it with `tidyvoice average`, or set loss.init to random or speaker_means"
        raise TidyVoiceError(f"{path} is missing, but loss.init: checkpoint needs it: {fix}")
    return path


def save_head(
    folder: Path, tensors: Mapping[str, Tensor], speakers: Sequence[str], speeds: Sequence[float]
) -> None:
    """Write a head, given its state dict, with a class for each speaker at each speed."""
    rows = len(tensors["weight"]) // len(speeds)
    weight = tensors["weight"][_rows_of_speed(speeds, rows)].clone()
    content = {
        "format": FORMAT,
        "speakers": list(speakers),
        "rows_per_class": rows // len(speakers),
        "tensors": {**tensors, "weight": weight},
    }
    save_torch(folder / HEAD_FILE, content)


def from_head(head: Head, settings: Experiment, speakers: Sequence[str]) -> int:
    """Copy the classes of the speakers in the initial model's head; return their number."""
    path, state = head_file(settings), head.state_dict()
    wanted = {"speakers": list, "rows_per_class": int, "tensors": Tensor}
    saved = read_saved(path, wanted, "head of a loss", MAKE_AGAIN, MAKE_AGAIN)
    rows, tensors = head.rows_per_class, saved["tensors"]
    with reading(path, "head of a loss", MAKE_AGAIN):
        if saved["rows_per_class"] != rows_of_speaker(saved["speakers"], tensors):
            raise ValueError("rows_per_class")
    form, width = (saved["rows_per_class"], tensors["weight"].shape[1]), state["weight"].shape[1]
    # The weight of another training has other speakers, so only its rows' form is compared.
    if form != (rows, width) or misfits({**tensors, "weight": state["weight"]}, state):
        fix = "set loss and model.embed_dim as in its training, or loss.init to speaker_means"
        size = f"({form[0]} x {form[1]} weights a class)"
        raise TidyVoiceError(f"{path} is the head of another loss {size}: {fix}")
    places = {speaker: place for place, speaker in enumerate(saved["speakers"])}
    common = [(place, places[name]) for place, name in enumerate(speakers) if name in places]
    if not common:
        fix = "set loss.init to speaker_means"
        raise TidyVoiceError(f"{path} has none of the speakers of data.train: {fix}")
    here, there = torch.tensor(common).T
    weight = state.pop("weight")  # shares its memory with the parameter, as do the others
    weight = weight[_rows_of_speed(settings.data.speeds, len(speakers) * rows)]
    source = tensors["weight"].to(weight.device).unflatten(0, (-1, rows))
    weight.unflatten(0, (-1, rows))[here] = source[there]
    for name, tensor in state.items():
        tensor.copy_(tensors[name])
    return len(common)


def _rows_of_speed(speeds: Sequence[float], rows: int) -> slice:
    """Return the rows of the weight whose classes are at the speed nearest 1.0."""
    nearest = min(range(len(speeds)), key=lambda place: abs(speeds[place] - 1.0))
    return slice(nearest * rows, (nearest + 1) * rows)
