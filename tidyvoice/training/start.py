"""The start of a training: initial weights, and classes at their speakers' mean embeddings."""

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from tidyvoice.config import Experiment, SamplerSettings
from tidyvoice.data.batches import TrainingData, load_batches
from tidyvoice.errors import TidyVoiceError
from tidyvoice.frontends import FRONTENDS
from tidyvoice.modelhub.folder import WeightsMismatch, load_weights, model_files, read_weights
from tidyvoice.modelhub.wespeaker import frontend_settings, network_of, section
from tidyvoice.settings import differences, read_yaml
from tidyvoice.training.head import ClassMeans

if TYPE_CHECKING:
    from tidyvoice.training.trainer import Trainer

NAMED = 10  # tensors that are listed by name; more are counted by module
SAMPLE = 256  # chunks that the parameters of a loss beside its weights are fitted to


def start_from_model(model: nn.Module, settings: Experiment) -> list[str]:
    """Load ``settings.model.init`` into the model; return what to log about it.

    Raises:
        TidyVoiceError: it is another network, or was trained with another front end.
    """
    files = model_files(settings.model.init)
    # A lone file of weights does not say which features they were trained on.
    if files.config is not None:
        _refuse_other_frontend(files.config, settings)
    report = [f"the model starts from {files.weights}"]
    if settings.model.init_partial:
        return report + _load_fitting(model, files.weights)
    try:
        load_weights(model, files.weights)
    except WeightsMismatch:
        if files.config is not None:
            _refuse_other_network(files.config, settings)
        raise
    return report


def _load_fitting(model: nn.Module, path: Path) -> list[str]:
    """Load the tensors whose names and shapes fit; return which were kept, dropped and new."""
    tensors = model.state_dict()
    state = read_weights(path, tensors)
    kept = [name for name in tensors if name in state and state[name].shape == tensors[name].shape]
    if not kept:
        raise TidyVoiceError(
            f"{path}: no tensor fits {type(model).__name__}: set model.init to another model, or "
            "null"
        )
    model.load_state_dict({name: state[name] for name in kept}, strict=False)
    groups = {
        "kept": kept,
        "dropped": [name for name in state if name not in kept],
        "new": [name for name in tensors if name not in kept],
    }
    return [f"{group}: {_listed(names)}" for group, names in groups.items()]


def _listed(names: Sequence[str]) -> str:
    """List names of tensors; count them by module if they are many."""
    lines = names
    for depth in (2, 1):
        if len(lines) > NAMED:
            modules = Counter(".".join(name.split(".")[:depth]) for name in names)
            lines = [f"{module}.* ({count})" for module, count in modules.items()]
    return ", ".join(lines) or "none"


def _refuse_other_frontend(config: Path, settings: Experiment) -> None:
    """Raise an error if the model was trained on other features."""
    frontend = frontend_settings(section(read_yaml(config), "dataset_args", config), config)
    changed = differences(frontend.model_dump(), settings.frontend.model_dump())
    for key in FRONTENDS[frontend.name].training_only:
        changed.pop(f"args.{key}", None)
    if changed:
        listed = "; ".join(f"{key} {old}, here {new}" for key, (old, new) in changed.items())
        raise TidyVoiceError(f"{config}: another front end ({listed}): set frontend accordingly")


def _refuse_other_network(config: Path, settings: Experiment) -> None:
    """Raise an error that names the settings of the network that differ, if there are any."""
    network = {"name": settings.model.name, "args": settings.model.args}
    name, args = network_of(read_yaml(config), config)
    changed = differences({"name": name, "args": args}, network)
    if changed:
        listed = "; ".join(f"model.{key} {old}, here {new}" for key, (old, new) in changed.items())
        fix = " ".join(f"model.{key}={old}" for key, (old, _) in changed.items())
        raise TidyVoiceError(
            f"{config}: another network ({listed}): set {fix} or give another model "
            "(model.init_partial=true loads the tensors that fit)"
        )


def start_from_speaker_means(trainer: "Trainer") -> int:
    """Set each class weight to its speaker's mean embedding; return how many classes were set.

    The means are over one chunk of (nearly) every utterance, without noise, reverberation, dither
    or other augmentation. The remaining parameters of the loss (SphereFace2's bias) are fitted to
    some of the chunks, at the margin of the first step. The processes share the work, and all end
    with the same classes.
    """
    settings, world, head = trainer.settings, trainer.world, trainer.objective.head
    device = world.device
    clean = {"augment_probability": 0.0, "augmentations": (), "sampler": SamplerSettings()}
    chosen = settings.data.model_copy(update=clean)
    data = TrainingData(chosen, trainer.data.chunk_samples, settings.seed)
    means = ClassMeans(data.num_classes, settings.model.embed_dim, device)
    sample: list[tuple[Tensor, Tensor]] = []
    trainer.network.eval()
    trainer.frontend.eval()
    share = range(world.rank, data.batches_per_pass, world.size)
    with torch.no_grad(), closing(load_batches(data, share)) as batches:
        for raw in batches:
            on_device = raw.to(device)
            embeddings = trainer.network.embed(trainer.features(on_device))
            means.add(embeddings, on_device.labels)
            if len(sample) * len(embeddings) * world.size < SAMPLE:
                sample.append((embeddings.cpu(), raw.labels))
    means.share(world)
    sample = [pair for part in world.gather(sample) for pair in part]
    # With several weights a class (sub-centres), only the first is set; the others start at random.
    seen = means.fill(head.weight.detach()[:: head.rows_per_class])
    head.margin = trainer.margin.at(0)
    head.fit(*(torch.cat(part).to(device) for part in zip(*sample, strict=True)))
    return seen
