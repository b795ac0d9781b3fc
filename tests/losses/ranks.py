"""What each process of the tests over ranks runs; imports little, because each one starts anew."""

import traceback
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from tidyvoice.errors import TidyVoiceError
from tidyvoice.losses import build_loss

FEATURES, DIM, CLASSES, ROWS = 5, 6, 11, 4


def model() -> nn.Module:
    torch.manual_seed(7)
    layers = nn.Linear(FEATURES, 8), nn.Tanh(), nn.Linear(8, DIM)
    return nn.Sequential(*layers).double()


def inputs(ranks: int, step: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Features and labels of all ranks together."""
    generator = torch.Generator().manual_seed(100 + step)
    rows = ROWS * ranks
    features = torch.randn(rows, FEATURES, generator=generator, dtype=torch.float64)
    return features, torch.randint(0, CLASSES, (rows,), generator=generator)


def head_of(name: str, options: dict, **where: Any) -> nn.Module:
    torch.manual_seed(3)
    return build_loss(name, DIM, CLASSES, **options, **where).double()


def trained(network: nn.Module, head: nn.Module, rows: slice, ranks: int) -> dict[str, Any]:
    """Losses and last gradients of three steps of both, on ``rows`` of each batch."""
    parameters = [*network.parameters(), *head.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
    said = []
    for step in range(3):
        features, labels = inputs(ranks, step)
        optimizer.zero_grad()
        loss, accuracy = head(network(features[rows]), labels[rows])
        loss.backward()
        optimizer.step()
        said.append((loss.item(), accuracy.item()))
    momentum = optimizer.state[head.weight]["momentum_buffer"]
    return {
        "said": said,
        "model": [p.detach() for p in network.parameters()],
        "model gradient": [p.grad for p in network.parameters()],
        "weight": head.full_weight(),
        "weight gradient": head.shard.all_rows(head.weight.grad),
        "momentum": head.shard.all_rows(momentum),
        "extra": [p.detach() for name, p in head.named_parameters() if name != "weight"],
        "extra gradient": [p.grad for name, p in head.named_parameters() if name != "weight"],
    }


def _case(rank: int, ranks: int, name: str, options: dict, mib: float | None) -> dict[str, Any]:
    group = distributed.group.WORLD
    own = slice(rank * ROWS, (rank + 1) * ROWS)
    head = head_of(name, options, logit_mib=mib, group=group)
    features, labels = inputs(ranks)
    embeddings = model()(features[own]).detach().requires_grad_()
    loss, _ = head(embeddings, labels[own])
    loss.backward()
    head.zero_grad()
    network = DistributedDataParallel(model())
    found = trained(network, head, own, ranks)
    found["embedding gradient"] = embeddings.grad
    other = head_of(name, options, group=group)
    other.load_full_weight(head.full_weight())
    found["held"] = head.weight.detach()
    found["loaded"] = other.weight.detach()
    return found


def _mistakes(rank: int, ranks: int) -> dict[str, str]:
    """The text of what is refused; every rank must refuse, or the others would wait."""
    group = distributed.group.WORLD
    head = head_of("ArcMargin", {}, group=group)
    attempts = {
        "batches": lambda: head(torch.randn(2 + rank, DIM), torch.zeros(2 + rank).long()),
        "label": lambda: head(torch.randn(2, DIM), torch.tensor([0, CLASSES if rank else 1])),
        "logits": lambda: head.logits(torch.randn(2, DIM), torch.tensor([0, 1])),
        "classes": lambda: build_loss("AMSoftmax", DIM, 2, group=group),
    }
    said = {}
    for what, attempt in attempts.items():
        try:
            attempt()
            said[what] = ""
        except TidyVoiceError as error:
            said[what] = str(error)
    return said


def run(rank: int, ranks: int, folder: Path, cases: list) -> None:
    """Write RANK.pt, the results of all cases, or RANK.txt, what went wrong."""
    torch.set_num_threads(1)
    try:
        distributed.init_process_group(
            "gloo", f"file://{folder}/meeting", timedelta(seconds=30), ranks, rank
        )
        found: dict[str, Any] = {str(case): _case(rank, ranks, *case) for case in cases}
        found["mistakes"] = _mistakes(rank, ranks)
        torch.save(found, folder / f"{rank}.pt")
        distributed.barrier()
        distributed.destroy_process_group()
    except BaseException:
        (folder / f"{rank}.txt").write_text(traceback.format_exc())
        raise
