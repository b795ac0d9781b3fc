"""What a training takes: memory of a step, steps, time on a CPU. Estimates, and called so.

What the forward pass keeps for the backward one is measured on the CPU, on a few short chunks, with
``torch.autograd.graph.saved_tensors_hooks``; it grows in proportion to batch and frames.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import torch
from torch import Tensor

from tidyvoice.config import Experiment
from tidyvoice.losses import loss_options
from tidyvoice.manifest import Manifest
from tidyvoice.models import build_model

MEASURED_FRAMES = 64
FLOAT_BYTES = 4
# The loss head holds the most B x C maps (the log-softmax and two gradients) before, and the most
# C x D maps (the class weights at unit length and their gradients) while it computes the gradient
# of its weights, which is not counted here.
LOGIT_MAPS = 3
UNIT_WEIGHT_MAPS = 4
TIMED_RUNS = 3
QUICK_SECONDS = 0.5


@dataclass(frozen=True)
class TrainingCost:
    """Estimates for one training.

    Attributes:
        state: bytes of weights, gradients and optimizer, on the device throughout.
        activations: bytes that the forward pass of one batch keeps.
        head: bytes of the loss head's maps in one step; what it keeps throughout is in ``state``.
        seconds_per_step: of a step on this machine's CPU; None if it was not timed.
    """

    state: int
    activations: int
    head: int
    seconds_per_step: float | None = None

    @property
    def total(self) -> int:
        return self.state + self.activations + self.head


def training_cost(settings: Experiment, classes: int = 0, timed: bool = False) -> TrainingCost:
    """The cost of a step of an experiment.

    Args:
        classes: of the loss head; 0 leaves it out.
        timed: also time a step on the CPU.
    """
    network, batch = settings.model, settings.data.batch_size
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = _model(settings)
        frames = min(settings.data.chunk_frames, MEASURED_FRAMES)
        two, four = (saved_bytes(model, settings, count, frames) for count in (2, 4))
        seconds = _seconds_per_step(model, settings) if timed else None
    # What does not grow with the batch are weights that autocast has copied to half precision.
    a_chunk = (four - two) / 2
    fixed = two - 2 * a_chunk
    scale = batch * settings.data.chunk_frames / frames
    centres = settings.loss.sub_centres or loss_options(settings.loss.name).get("sub_centres", 1)
    head_weights = classes * centres * network.embed_dim
    weights = sum(p.numel() for p in model.parameters())
    averaged = weights if network.ema_decay else 0
    kept = (weights + head_weights) * (2 + moments(settings)) + averaged
    return TrainingCost(
        state=kept * FLOAT_BYTES,
        activations=int(fixed + a_chunk * scale),
        head=max(LOGIT_MAPS * batch * classes * centres, UNIT_WEIGHT_MAPS * head_weights)
        * FLOAT_BYTES,
        seconds_per_step=None if seconds is None else seconds * settings.accumulate,
    )


def moments(settings: Experiment) -> int:
    """Numbers that the optimizer keeps for each weight."""
    if settings.optimizer.name == "AdamW":
        return 2
    return int(settings.optimizer.momentum > 0)


def steps(settings: Experiment, data: Manifest | None) -> int | None:
    """Steps of a training; None where that needs the data's durations, and there are none."""
    if settings.epoch_iterations:
        return settings.epochs * settings.epoch_iterations
    if data is None or data.table["seconds"].null_count():
        return None
    long_enough = (data.table["seconds"] >= settings.data.min_seconds).sum()
    return settings.epochs * (long_enough // (settings.data.batch_size * settings.accumulate))


def training_data(settings: Experiment, folders: Mapping[Path, Manifest]) -> Manifest | None:
    """All that a training reads speech from; None where some of it is not there yet."""
    parts = [folders.get(path) for path in settings.data.train]
    if None in parts:
        return None
    return Manifest(pl.concat([part.table for part in parts if part]))


def classes_of(settings: Experiment, data: Manifest | None) -> int:
    """Classes of the loss head, each speaker at each speed one; 0 where there is no data yet."""
    return len(data.speakers()) * len(settings.data.speeds) if data else 0


def saved_bytes(model: torch.nn.Module, settings: Experiment, batch: int, frames: int) -> int:
    """Bytes that the forward pass of ``batch`` chunks keeps for the backward one.

    With ``model.recompute`` those are each block's input, and all that one block keeps at a time:
    the most in the first stage.
    """
    kept = _kept_bytes(model, lambda: _forward(model, settings, batch, frames))
    if settings.model.recompute:
        shape = (batch, settings.model.in_planes, settings.frontend.num_mel_bins, frames)
        block, x = model.front.layer1[-1], torch.randn(shape, requires_grad=True)
        bf16 = settings.precision == "bf16"
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            kept += _kept_bytes(model, lambda: block(x))
    return kept


def _kept_bytes(model: torch.nn.Module, forward: Callable[[], Tensor]) -> int:
    """Each storage counts once, however many tensors share it; the model's own do not count."""
    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage  # held, so that its address is not given away again
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        forward()
    return sum(storage.nbytes() for storage in kept.values())


def _model(settings: Experiment) -> torch.nn.Module:
    network = settings.model
    bins = settings.frontend.num_mel_bins
    model = build_model(network.name, network.in_planes, network.embed_dim, bins).train()
    model.front.recompute = network.recompute
    return model


def _forward(model: torch.nn.Module, settings: Experiment, batch: int, frames: int) -> Tensor:
    features = torch.randn(batch, frames, settings.frontend.num_mel_bins)
    with torch.autocast("cpu", torch.bfloat16, enabled=settings.precision == "bf16"):
        return model(features)


def _seconds_per_step(model: torch.nn.Module, settings: Experiment) -> float:
    """The fastest of a few forward and backward passes, at the real size or as near as is quick.

    The fastest, because the first ones set things up, and others share the machine.
    """
    whole_batch, whole_frames = settings.data.batch_size, settings.data.chunk_frames
    batch, frames = 2, min(whole_frames, MEASURED_FRAMES)
    runs, best = 0, math.inf
    while runs < TIMED_RUNS:
        start = time.perf_counter()
        _forward(model, settings, batch, frames).float().sum().backward()
        runs, best = runs + 1, min(best, time.perf_counter() - start)
        if best < QUICK_SECONDS and (batch < whole_batch or frames < whole_frames):
            if batch < whole_batch:
                batch = min(2 * batch, whole_batch)
            else:
                frames = min(2 * frames, whole_frames)
            runs, best = 0, math.inf
    return best * whole_batch * whole_frames / (batch * frames)


def weight_bytes(settings: Experiment) -> tuple[int, int]:
    """Bytes of a model's state (with its buffers), and of its parameters alone."""
    with torch.device("meta"):
        model = _model(settings)
    state = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    return state, sum(p.numel() for p in model.parameters()) * FLOAT_BYTES
