"""Share of the machine's matrix-multiplication speed that a training step reaches, and options.

    python benchmarks/training_step.py
    python benchmarks/training_step.py --planes 8 --batch 2 --frames 40 --runs 1

A step is SimAM-ResNet34 forward and backward on the CPU in float32, the loss over 5,000 classes and
the optimizer included. Its operations are counted as those of the convolutions and matrix products
(``torch.utils.flop_counter``), forward and backward. The speed that is compared with is that of a
product of two 2048 x 2048 matrices, measured before and after each step; the share is the median
over the runs, in which the options take turns.

``eager`` is the network as it is usually written: SimAM left to autograd, which keeps five maps.
"""

import argparse
import statistics
import time
from contextlib import AbstractContextManager, nullcontext
from unittest import mock

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.flop_counter import FlopCounterMode

from tidyvoice.losses import ArcMargin
from tidyvoice.models import build_model, simam_resnet
from tidyvoice.models.simam import LAMBDA

SIZE, CLASSES = 2048, 5000


def eager_simam(x: Tensor) -> Tensor:
    """SimAM in the five lines of its paper."""
    squares = (x - x.mean(dim=(2, 3), keepdim=True)).square()
    n = x.shape[2] * x.shape[3] - 1
    variance = squares.sum(dim=(2, 3), keepdim=True) / n
    return x * torch.sigmoid(squares / (4 * (variance + LAMBDA)) + 0.5)


class Step:
    """A model and what trains it."""

    def __init__(self, args: argparse.Namespace, option: str):
        torch.manual_seed(1)
        self.model = build_model("SimAM_ResNet34_ASP", args.planes, 256)
        self.loss = ArcMargin(256, CLASSES, logit_mib=4 if option == "blocked loss" else None)
        self.model.front.recompute = option == "recompute"
        if option == "channels_last":
            self.model.to(memory_format=torch.channels_last)
        self.average = None
        if option == "moving average":
            average = get_ema_multi_avg_fn(0.999)
            self.average = AveragedModel(self.model, multi_avg_fn=average, use_buffers=True)
        parameters = [*self.model.parameters(), *self.loss.parameters()]
        self.optimizer = torch.optim.SGD(parameters, lr=1e-3, momentum=0.9, nesterov=True)
        self.features = torch.randn(args.batch, args.frames, 80)
        self.labels = torch.randint(0, CLASSES, (args.batch,))
        self.eager = option == "eager"

    def __call__(self) -> None:
        replaced: AbstractContextManager = nullcontext()
        if self.eager:
            replaced = mock.patch.object(simam_resnet, "simam", eager_simam)
        with replaced:
            loss, _ = self.loss(self.model(self.features), self.labels)
            self.optimizer.zero_grad()
            loss.backward()
        self.optimizer.step()
        if self.average:
            self.average.update_parameters(self.model)


def product_speed(a: Tensor) -> float:
    """Operations a second of a matrix product, the best of three."""
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        torch.mm(a, a)
        best = min(best, time.perf_counter() - start)
    return 2 * SIZE**3 / best


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--planes", type=int, default=64)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    options = ["eager", "ours", "channels_last", "blocked loss", "moving average", "recompute"]
    steps = {option: Step(args, option) for option in options}
    with FlopCounterMode(display=False) as counter:
        steps["eager"]()
    operations = counter.get_total_flops()
    a = torch.randn(SIZE, SIZE)
    shares: dict[str, list[float]] = {option: [] for option in options}
    for run in range(args.runs + 1):
        for option, step in steps.items():
            before = product_speed(a)
            start = time.perf_counter()
            step()
            speed = operations / (time.perf_counter() - start)
            if run:  # the first one is a warm-up
                shares[option].append(speed / statistics.mean((before, product_speed(a))))
    plain = statistics.median(shares["eager"])
    print(f"{torch.get_num_threads()} threads, {operations / 1e9:,.0f} GFLOP a step")
    for option, found in shares.items():
        share = statistics.median(found)
        print(f"{option}: {share:.2f} of the product's speed, {share / plain:.2f} of eager")


if __name__ == "__main__":
    main()
