"""Share of the machine's matrix-multiplication speed that a training step reaches, and options.

    python benchmarks/training_step.py
    python benchmarks/training_step.py --planes 8 --batch 2 --frames 40 --runs 1
    python benchmarks/training_step.py --device cuda --precision bf16 --batch 256

A step is SimAM-ResNet34 forward and backward, the loss over 5,000 classes and the optimizer
included. Its operations are counted as those of the convolutions and matrix products
(``torch.utils.flop_counter``), forward and backward. The speed that is compared with is that of a
product of two 2048 x 2048 matrices (on a GPU 8192 x 8192), measured before and after each step; the
share is the median over the runs, in which the options take turns. It has not been run on a GPU.

``eager`` is the network as it is usually written: SimAM, residual sum and ReLU left to autograd,
maps in the default layout. ``ours, contiguous`` is this project's network in that layout.
"""

import argparse
import statistics
from contextlib import AbstractContextManager, nullcontext
from unittest import mock

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.flop_counter import FlopCounterMode

from tidyvoice.losses import ArcMargin
from tidyvoice.models import build_model, simam_resnet
from tidyvoice.models.checkpointing import checkpoint_activations
from tidyvoice.models.simam_resnet import LAMBDA
from tidyvoice.training.measurement import now, product_speed

SIZE, CLASSES = 2048, 5000


def eager_simam_residual(x: Tensor, residual: Tensor) -> Tensor:
    """SimAM in the five lines of its paper, then the residual sum and ReLU."""
    squares = (x - x.mean(dim=(2, 3), keepdim=True)).square()
    n = x.shape[2] * x.shape[3] - 1
    variance = squares.sum(dim=(2, 3), keepdim=True) / n
    attended = x * torch.sigmoid(squares / (4 * (variance + LAMBDA)) + 0.5)
    return (attended + residual).relu_()


class Step:
    """A model and what trains it."""

    def __init__(self, args: argparse.Namespace, option: str):
        torch.manual_seed(1)
        self.model = build_model("SimAM_ResNet34_ASP", in_planes=args.planes, embed_dim=256).to(
            args.device
        )
        self.loss = ArcMargin(256, CLASSES).to(args.device)
        if option == "activation_checkpointing":
            checkpoint_activations(self.model.blocks())
        if option not in ("eager", "ours, contiguous"):
            self.model.to(memory_format=torch.channels_last)
        self.average = None
        if option == "moving average":
            average = get_ema_multi_avg_fn(0.999)
            self.average = AveragedModel(self.model, multi_avg_fn=average, use_buffers=True)
        parameters = [*self.model.parameters(), *self.loss.parameters()]
        self.optimizer = torch.optim.SGD(parameters, lr=1e-3, momentum=0.9, nesterov=True)
        self.features = torch.randn(args.batch, args.frames, 80, device=args.device)
        self.labels = torch.randint(0, CLASSES, (args.batch,), device=args.device)
        self.autocast = torch.autocast(
            torch.device(args.device).type, torch.bfloat16, enabled=args.precision == "bf16"
        )
        self.eager = option == "eager"

    def __call__(self) -> None:
        replaced: AbstractContextManager = nullcontext()
        if self.eager:
            replaced = mock.patch.object(simam_resnet, "simam_residual", eager_simam_residual)
        with replaced:
            with self.autocast:
                embeddings = self.model(self.features)
            loss, _ = self.loss(embeddings, self.labels)
            self.optimizer.zero_grad()
            loss.backward()
        self.optimizer.step()
        if self.average:
            self.average.update_parameters(self.model)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--planes", type=int, default=64)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=["float32", "bf16"], default="float32")
    args = parser.parse_args()
    options = ["eager", "ours", "ours, contiguous", "moving average", "activation_checkpointing"]
    steps = {option: Step(args, option) for option in options}
    with FlopCounterMode(display=False) as counter:
        steps["eager"]()
    operations = counter.get_total_flops()
    on_cpu = torch.device(args.device).type == "cpu"
    size = SIZE if on_cpu else 4 * SIZE  # smaller ones do not fill a GPU
    a = torch.randn(size, size, device=args.device)
    a = a.bfloat16() if args.precision == "bf16" else a
    shares: dict[str, list[float]] = {option: [] for option in options}
    for run in range(args.runs + 1):
        for option, step in steps.items():
            before = product_speed(a)
            start = now(args.device)
            step()
            speed = operations / (now(args.device) - start)
            if run:  # the first one is a warm-up
                shares[option].append(speed / statistics.mean((before, product_speed(a))))
    plain = statistics.median(shares["eager"])
    where = (
        f"{torch.get_num_threads()} threads" if on_cpu else torch.cuda.get_device_name(args.device)
    )
    print(f"{where}, {args.precision}, {operations / 1e9:,.0f} GFLOP a step")
    for option, found in shares.items():
        share = statistics.median(found)
        print(f"{option}: {share:.2f} of the product's speed, {share / plain:.2f} of eager")


if __name__ == "__main__":
    main()
