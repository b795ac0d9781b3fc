"""What a training starts from: a model's weights, classes at their speakers' means."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from tidyvoice.config import Experiment
from tidyvoice.data.batches import TrainingData, load_batches
from tidyvoice.errors import TidyVoiceError
from tidyvoice.frontends import FRONTENDS
from tidyvoice.modelhub.folder import WeightsMismatch, load_weights, model_files
from tidyvoice.modelhub.wespeaker import frontend_settings, network_of, read_config, section
from tidyvoice.settings import differences
from tidyvoice.training.head import ClassMeans, head_file

if TYPE_CHECKING:
    from tidyvoice.training.trainer import Trainer

SAMPLE = 256  # chunks that a head is fitted to, beside its weights


def start_from_model(model: nn.Module, settings: Experiment) -> Path:
    """Load ``settings.model.init`` into the model; the file that was read.

    Raises:
        TidyVoiceError: it is another network, or was trained with another front end.
    """
    files = model_files(settings.model.init)
    # A lone file of weights does not say which features they were trained on.
    if files.config is not None:
        _refuse_other_frontend(files.config, settings)
    try:
        load_weights(model, files.weights)
    except WeightsMismatch:
        if files.config is not None:
            _refuse_other_network(files.config, settings)
        raise
    return files.weights


def check_initial_model(settings: Experiment) -> Path:
    """Load ``settings.model.init`` into a network that is thrown away; the file that was read.

    Raises:
        TidyVoiceError: see ``start_from_model`` and ``head_file``.
    """
    if settings.loss.init == "checkpoint":
        head_file(settings)
    return start_from_model(settings.build_model(), settings)


def _refuse_other_frontend(config: Path, settings: Experiment) -> None:
    """A model takes the features that it was trained on."""
    theirs = frontend_settings(section(read_config(config), "dataset_args", config), config)
    changed = differences(theirs.model_dump(), settings.frontend.model_dump())
    for key in FRONTENDS[theirs.name].training_only:
        changed.pop(f"args.{key}", None)
    if changed:
        listed = "; ".join(f"{key} {old}, here {new}" for key, (old, new) in changed.items())
        raise TidyVoiceError(f"{config}: another front end ({listed}): set frontend accordingly")


def _refuse_other_network(config: Path, settings: Experiment) -> None:
    """Raise an error that names the settings of the network that differ, if there are any."""
    ours = {"name": settings.model.name, "args": settings.model.args}
    name, args = network_of(read_config(config), config)
    changed = differences({"name": name, "args": args}, ours)
    if changed:
        listed = "; ".join(f"model.{key} {old}, here {new}" for key, (old, new) in changed.items())
        fix = " ".join(f"model.{key}={old}" for key, (old, _) in changed.items())
        raise TidyVoiceError(
            f"{config}: another network ({listed}): set {fix} or give another model"
        )


def start_from_speaker_means(trainer: "Trainer") -> int:
    """Set each class weight to its speaker's mean embedding; return how many classes were set.

    The means are over one chunk of (nearly) every utterance.

    The remaining parameters of the loss (SphereFace2's bias) are fitted to some of the chunks, at
    the margin of the first step. The chunks are without noise, reverberation or dither. The
    processes share the work, and all end with the same classes.
    """
    settings, world, head = trainer.settings, trainer.world, trainer.objective.head
    device = world.device
    clean = {"augment_probability": 0.0, "order": "shuffled", "balance": "none", "pairs": False}
    chosen = settings.data.model_copy(update=clean)
    data = TrainingData(chosen, trainer.data.chunk_samples, settings.seed)
    means = ClassMeans(data.num_classes, settings.model.embed_dim, device)
    sample: list[tuple[Tensor, Tensor]] = []
    trainer.network.eval()
    trainer.frontend.eval()
    own = range(world.rank, data.batches_per_pass, world.size)
    with torch.no_grad(), closing(load_batches(data, own)) as batches:
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
