"""Measured speed of training steps, computed in several ways on this machine.

Each way has a network of its own from the same seed; random numbers stay as they were.
"""

import gc
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import cycle, product
from math import isclose
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode

from tidyvoice import kernels
from tidyvoice.config import Experiment
from tidyvoice.data.batches import RawBatch, TrainingData, load_batches
from tidyvoice.distributed import World
from tidyvoice.errors import LONGEST_REASON, TidyVoiceError
from tidyvoice.settings import Strict
from tidyvoice.training.network import build_network
from tidyvoice.training.step import TrainingStep

WARM_UP, MEASURED = 3, 10  # steps
LOADED = 16  # batches, at least
MATRIX_SIZE = 8192  # rows of the matrices, a quarter on a CPU; smaller ones do not fill a GPU
# A learning rate at which rounding errors do not grow: between the layouts on a CPU losses in
# float32 differ by 2e-4 after 8 steps, and by 4e-2 at 1e-3.
LEARNING_RATE = 1e-5
# Relative differences of losses. TF32, in which cuDNN convolves float32, keeps 10 bits; bfloat16
# keeps 8, and a loss is a mean over a batch, which rounds less than one value.
TOLERANCE = {"float32": 2e-3, "bf16": 2e-2}
# Of the norm of the first gradient, since losses at this rate hardly show a wrong backward pass.
# Rounding moves it more: between the layouts by 4e-3 in float32 and 3e-2 in bfloat16.
GRADIENT_TOLERANCE = 0.2
UNLIMITED = 1e30  # norm of a gradient


class Combination(Strict):
    """A way to compute a training step. All ways give the same result, but for rounding."""

    compile: bool  # torch.compile of the model's trunk
    channels_last: bool = True
    plain: bool = False  # PyTorch's operations instead of SimAM's Triton kernels

    def __str__(self) -> str:
        names = {"compile": self.compile, "no Triton kernels": self.plain}
        layout = "channels last" if self.channels_last else "contiguous"
        return ", ".join([layout, *(name for name, used in names.items() if used)])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Switch the kernels, and cuDNN's search; the network has the rest.

        All combinations search, because cuDNN keeps the first algorithm of a shape in a process.
        """
        before = torch.backends.cudnn.benchmark
        torch.backends.cudnn.benchmark = True
        try:
            with kernels.without("simam_residual") if self.plain else nullcontext():
                yield
        finally:
            torch.backends.cudnn.benchmark = before


class Row(Strict):
    """Result of a combination, or the reason why it did not run."""

    combination: Combination
    failure: str | None = None
    agrees: bool = False  # with the first combination that ran
    milliseconds: float = 0.0  # of a step
    chunks_per_second: float = 0.0
    memory: int | None = None  # bytes, the peak on CUDA
    product_share: float | None = None  # of the speed of a matrix product
    waiting: float = 0.0  # share of the time, if data are loaded as fast as measured


class Trial(NamedTuple):
    """Losses of all steps, seconds of a measured one, and the peak memory on CUDA."""

    losses: list[float]
    gradient: float  # norm of the first one
    seconds: float
    memory: int | None

    def agrees(self, other: "Trial", tolerance: float) -> bool:
        """Return whether the results are those of another trial, but for rounding."""
        pairs = zip(self.losses, other.losses, strict=True)
        same = all(isclose(*pair, rel_tol=tolerance, abs_tol=tolerance) for pair in pairs)
        return same and isclose(self.gradient, other.gradient, rel_tol=GRADIENT_TOLERANCE)


def combinations(
    settings: Experiment, device: torch.device, processes: int = 1
) -> list[Combination]:
    """Return the combinations to measure, first the reference of PyTorch's own operations.

    A trial runs in one process. With several, torch.compile makes other code (it divides the
    network where gradients are exchanged), so that it is not tried.
    """
    on_cuda, wanted = device.type == "cuda", settings.model.compile
    free = on_cuda and processes == 1 and not wanted
    free = free and not settings.model.activation_checkpointing
    values = product((False, True) if free else (wanted,), (True, False))
    others = [Combination(compile=compiled, channels_last=last) for compiled, last in values]
    return list(dict.fromkeys([Combination(compile=False, plain=on_cuda), *others]))


def measure(
    settings: Experiment,
    data: TrainingData,
    device: torch.device,
    steps: int,
    processes: int = 1,
) -> Iterator[Row]:
    """Yield a row for each of the ``combinations``. No other process takes part."""
    accumulated = settings.gradient_accumulation
    batches, loading_rate = _load(data, device, accumulated)
    size = MATRIX_SIZE // (4 if device.type == "cpu" else 1)
    dtype = torch.bfloat16 if settings.precision == "bf16" else torch.float32
    values = torch.linspace(-1, 1, size * size, device=device)
    product_rate = product_speed(values.view(size, size).to(dtype))
    del values
    expected, flop = None, 0
    for combination in combinations(settings, device, processes):
        result = failure = None
        # Compiled operations cannot be counted, and one count is enough.
        counter = None if flop or combination.compile else FlopCounterMode(display=False)
        try:
            result = trial(settings, data, device, combination, batches, steps, counter)
        except TidyVoiceError:
            raise
        except Exception as error:  # compilers and drivers raise exceptions of many types
            lines = str(error).strip().splitlines() or [type(error).__name__]
            failure = lines[0][:LONGEST_REASON]
            now(device)  # an error that leaves the device unusable is raised here, not later
        if combination.compile:
            torch.compiler.reset()  # it compiles a function only a few times
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
        if result is None:
            yield Row(combination=combination, failure=failure)
            continue
        flop = counter.get_total_flops() if counter else flop
        expected = expected or result
        yield Row(
            combination=combination,
            agrees=result.agrees(expected, TOLERANCE[settings.precision]),
            milliseconds=1000 * result.seconds,
            chunks_per_second=accumulated * settings.data.batch_size / result.seconds,
            memory=result.memory,
            product_share=flop / result.seconds / product_rate if flop else None,
            waiting=max(0.0, 1 - result.seconds * loading_rate / accumulated),
        )


def _load(data: TrainingData, device: torch.device, least: int) -> tuple[list[RawBatch], float]:
    """Return batches for the trials, and how many are loaded in a second."""
    count = max(LOADED, 2 * data.settings.num_workers, least)
    kept, start = [], now("cpu")
    for batch in load_batches(data, range(count), device.type == "cuda"):
        if len(kept) < max(LOADED, least):  # the others only take time
            kept.append(batch)
    return kept, count / (now("cpu") - start)


def trial(
    settings: Experiment,
    data: TrainingData,
    device: torch.device,
    combination: Combination,
    batches: Sequence[RawBatch],
    steps: int,
    counter: FlopCounterMode | None,
) -> Trial:
    """Run steps of a new network, and count the operations of the first one."""
    on_cuda = device.type == "cuda"
    if settings.clip_gradient:  # a clipped norm would be the same for every gradient
        settings = settings.model_copy(update={"clip_gradient": UNLIMITED})
    with combination.applied(), torch.random.fork_rng([device] if on_cuda else []):
        torch.manual_seed(settings.seed)
        sizes = data.num_classes, len(data.languages)
        layout = combination.compile, combination.channels_last
        network = build_network(settings, *sizes, device, *layout)
        for module in network.modules():
            if isinstance(module, _BatchNorm) and module.weight is not None:
                nn.init.ones_(module.weight)  # one that starts at zero would hide its branch
        step = TrainingStep(settings, network, data.chunk_samples, World(0, 1, device))
        network.begin_average()
        network.train()
        step.frontend.train()
        endless = cycle(batches)
        with counter or nullcontext():
            losses = [step(network, endless, LEARNING_RATE).losses[0]]
        gradients = [each.grad for each in network.parameters() if each.grad is not None]
        gradient = torch.stack([each.norm() for each in gradients]).norm()
        losses += [step(network, endless, LEARNING_RATE).losses[0] for _ in range(1, WARM_UP)]
        start = now(device)
        if on_cuda:
            torch.cuda.reset_peak_memory_stats(device)
        losses += [step(network, endless, LEARNING_RATE).losses[0] for _ in range(steps)]
        seconds = (now(device) - start) / steps
        memory = torch.cuda.max_memory_allocated(device) if on_cuda else None
        return Trial(torch.stack(losses).tolist(), gradient.item(), seconds, memory)


def now(device: str | torch.device) -> float:
    """Return the time in seconds, after all that the device still has to do."""
    kind = torch.device(device).type
    if kind == "cuda":
        torch.cuda.synchronize(device)
    elif kind == "mps":
        torch.mps.synchronize()
    return time.perf_counter()


def product_speed(a: Tensor) -> float:
    """Return the operations a second of the product of a square matrix with itself; best of 3."""
    best = float("inf")
    for _ in range(3):
        start = now(a.device)
        torch.mm(a, a)
        best = min(best, now(a.device) - start)
    return 2 * len(a) ** 3 / best
