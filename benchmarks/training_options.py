"""Share of the CPU's matrix-multiplication speed that a training step reaches, and options.

    python benchmarks/training_options.py
    python benchmarks/training_options.py model.args.in_planes=8 data.chunk_frames=40

A step is that of conf/tidyvoice/scratch.yaml with 8 chunks at one speed, without the front end.
Its operations are counted as those of the convolutions and matrix products
(``torch.utils.flop_counter``), forward and backward. The speed that is compared with is that of a
product of two 2048 x 2048 matrices, measured before and after each step; the share is the median
over the runs, in which the options take turns.

``eager`` is the network as it is usually written: SimAM, residual sum and ReLU left to autograd,
maps in the default layout. ``ours, contiguous`` is this project's network in that layout.
"""

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import repeat
from unittest import mock

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from training_step import CONF, build

from tidyvoice.config import load_experiment
from tidyvoice.models import simam_resnet
from tidyvoice.training.measurement import product_speed

OPTIONS = {
    "eager": (),
    "ours": (),
    "ours, contiguous": (),
    "moving average": ("model.ema_decay=0.999",),
    "activation_checkpointing": ("model.activation_checkpointing=true",),
}


def shares(
    options: dict[str, Callable[[], object]], operations: int, runs: int
) -> dict[str, tuple[float, float]]:
    """Return the median share of the product's speed, and the median seconds, of each option."""
    a = torch.randn(2048, 2048)
    results: dict[str, list[tuple[float, float]]] = {option: [] for option in options}
    for _ in range(runs):
        for option, run in options.items():
            before, start = product_speed(a), time.perf_counter()
            run()
            seconds = time.perf_counter() - start
            speed = statistics.mean((before, product_speed(a)))
            results[option].append((operations / seconds / speed, seconds))
    return {
        name: tuple(map(statistics.median, zip(*x, strict=True))) for name, x in results.items()
    }


def plain(x: Tensor, residual: Tensor) -> Tensor:
    return (simam_resnet.simam(x) + residual).relu_()


def main() -> None:
    steps: dict[str, Callable[[], object]] = {}
    for option, changes in OPTIONS.items():
        changes = ("data.speeds=[1.0]", "data.batch_size=8", *sys.argv[1:], *changes)
        settings = load_experiment(CONF / "scratch.yaml", changes)
        step, batch = build(settings, torch.device("cpu"))
        if option in ("eager", "ours, contiguous"):
            step.network.model.to(memory_format=torch.contiguous_format)
        features = torch.randn(settings.data.batch_size, settings.data.chunk_frames, 80)
        step.features = lambda raw, features=features: features
        steps[option] = partial(step, step.network, repeat(batch), 1e-3)
    steps["eager"] = mock.patch.object(simam_resnet, "simam_residual", plain)(steps["eager"])
    with FlopCounterMode(display=False) as counter:
        steps["eager"]()
    for step in steps.values():
        step()  # a warm-up
    operations = counter.get_total_flops()
    print(f"{torch.get_num_threads()} threads, {operations / 1e9:,.0f} GFLOP a step")
    results = shares(steps, operations, runs=5)
    for option, (share, _) in results.items():
        compared = share / results["eager"][0]
        print(f"{option}: {share:.2f} of the product's speed, {compared:.2f} of eager")


if __name__ == "__main__":
    main()
