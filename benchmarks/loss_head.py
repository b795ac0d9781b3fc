"""Time and memory of the loss head: logits whole, and in blocks of classes.

    python benchmarks/loss_head.py                                   # 100,000 classes
    python benchmarks/loss_head.py --classes 350000 --loss SphereFace2

One step is forward and backward, on the CPU. Both ways give the same loss and gradients (the
largest difference is printed). Ratios are of the medians of steps that alternate, so that they hold
on a machine whose speed drifts. Memory is that of the tensors that a step makes: the largest one,
the largest beside the gradient of the weight, and the most that exist at one time; inputs, weight
and its gradient not counted in the last.
"""

import argparse
import statistics
import time
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from tidyvoice.losses import LOSSES, Head, build_loss

MIB = 2**20


class Allocations(TorchDispatchMode):
    """Bytes of the storages that operations make while this is entered, in the order made."""

    def __init__(self, *given: torch.Tensor):
        super().__init__()
        self.sizes: list[int] = []
        self.peak = 0
        self._live: dict[int, tuple[StorageWeakRef, int]] = {}
        self._given = {tensor.untyped_storage()._cdata for tensor in given}

    def __torch_dispatch__(
        self, operation: Any, types: Any, arguments: tuple = (), keywords: dict | None = None
    ) -> Any:
        result = operation(*arguments, **(keywords or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        for address in [key for key, (alive, _) in self._live.items() if alive.expired()]:
            del self._live[address]
        self.peak = max(self.peak, sum(size for _, size in self._live.values()))
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage._cdata not in self._live and storage._cdata not in self._given:
            self._live[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
            self.sizes.append(storage.nbytes())


def step(head: Head, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Forward and backward; gradients are in ``grad``."""
    embeddings.grad = None
    head.zero_grad()
    loss, _ = head(embeddings, labels)
    loss.backward()
    return loss.detach()


def measured(head: Head, embeddings: torch.Tensor, labels: torch.Tensor) -> Allocations:
    """What one step makes."""
    with Allocations(embeddings, labels, *head.parameters()) as allocations:
        step(head, embeddings, labels)
    return allocations


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--loss", choices=LOSSES, default="ArcMargin")
    parser.add_argument("--classes", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--mib", type=float, default=4.0, help="logit_mib of the blocks")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    embeddings = torch.randn(args.batch, args.dim, requires_grad=True)
    labels = torch.randint(0, args.classes, (args.batch,))
    heads = {
        "whole": build_loss(args.loss, args.dim, args.classes),
        "blocks": build_loss(args.loss, args.dim, args.classes, logit_mib=args.mib),
    }
    heads["blocks"].load_state_dict(heads["whole"].state_dict())

    results = {}
    for name, head in heads.items():
        loss = step(head, embeddings, labels)
        results[name] = [loss, embeddings.grad, *(p.grad for p in head.parameters())]
    difference = max(
        float((one - two).abs().max() / one.abs().max())
        for one, two in zip(*results.values(), strict=True)
    )
    del results
    times: dict[str, list[float]] = {name: [] for name in heads}
    for _ in range(args.runs):
        for name, head in heads.items():
            start = time.perf_counter()
            step(head, embeddings, labels)
            times[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in times.items()}
    largest, peaks = {}, {}
    for name, head in heads.items():
        allocations, gradient = measured(head, embeddings, labels), head.weight.nbytes
        beside = sorted(allocations.sizes)
        beside.remove(gradient)
        largest[name], peaks[name] = beside[-1], allocations.peak - gradient
        print(
            f"{name:<7}{medians[name]:7.2f} s/step   largest tensor "
            f"{max(allocations.sizes) / MIB:7.1f} MiB, beside the weight's gradient "
            f"{largest[name] / MIB:7.1f} MiB, at one time {peaks[name] / MIB:7.1f} MiB"
        )
    print(
        f"ratio blocks / whole: time {medians['blocks'] / medians['whole']:.2f}, largest tensor "
        f"1/{largest['whole'] / largest['blocks']:.0f}, at one time "
        f"1/{peaks['whole'] / peaks['blocks']:.0f}; relative difference {difference:.1e}"
    )


if __name__ == "__main__":
    main()
