"""A loss over blocks of classes, whose logits are made twice instead of kept."""

import copy
from collections.abc import Iterable
from functools import reduce
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from tidyvoice.losses.head import Head


def place(labels: Tensor, start: int, width: int) -> tuple[Tensor, Tensor]:
    """Where the classes [B] are among the ``width`` classes from ``start`` on.

    Returns:
        The column [B x 1], a valid one in any case, and whether the class is there, bool [B x 1].
    """
    position = labels.unsqueeze(1) - start
    column = position.clamp(0, width - 1)
    return column, column == position


def hardest_others(
    blocks: Iterable[tuple[int, Tensor]], labels: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """The ``count`` highest cosines of classes that are not the label's.

    Args:
        blocks: number of the first class and cosines [B x C'] of each block.
        labels: [B].

    Returns:
        Cosines and class numbers [B x count]; -inf and -1 where there are fewer classes.
    """
    found: tuple[Tensor, Tensor] | None = None
    for start, cosines in blocks:
        if found is None:
            nothing = cosines.new_full((len(cosines), count), -torch.inf)
            found = nothing, torch.full_like(nothing, -1, dtype=torch.int64)
        column, here = place(labels, start, cosines.shape[1])
        barred = torch.where(here, -torch.inf, cosines.gather(1, column))
        top = cosines.scatter(1, column, barred).topk(min(count, cosines.shape[1]), dim=1)
        found = _highest(
            torch.cat([found[0], top.values], dim=1),
            torch.cat([found[1], top.indices + start], dim=1),
            count,
        )
    return found


def _highest(values: Tensor, classes: Tensor, count: int) -> tuple[Tensor, Tensor]:
    top = values.topk(count, dim=1)
    return top.values, classes.gather(1, top.indices)


class BlockedLoss(torch.autograd.Function):
    """Mean loss and accuracy of a head (see ``Head``), over the embeddings of all ranks."""

    @staticmethod
    def forward(
        ctx: Any, head: "Head", labels: Tensor, unit: Tensor, weight: Tensor, *extra: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Args: the head, labels [B], embeddings of unit length [B x D], its parameters."""
        # The margin may be moved on before the backward.
        head = copy.copy(head)
        shard = head.shard
        unit, labels = shard.gather(unit), shard.gather(labels)
        width = head.block_classes(len(labels), unit.element_size())
        hard = _hard_classes(head, labels, unit, weight, width) if head.num_hard else None
        states = []
        nearest = unit.new_full((len(labels),), -torch.inf), torch.zeros_like(labels)
        for start, rows in shard.blocks(width):
            cosines = head.class_cosines(unit, weight[rows])
            nearest = _nearer(nearest, cosines, start)
            logits = head.class_logits(cosines, labels, start, hard)
            states.append(head.block_state(logits, *place(labels, start, logits.shape[1])))
        state = head.combine(reduce(head.merge, states))
        ctx.head, ctx.width, ctx.hard, ctx.state = head, width, hard, state
        ctx.save_for_backward(labels, unit, weight, *extra)
        accuracy = (_nearest_of_all(head, nearest) == labels).float().mean()
        ctx.mark_non_differentiable(accuracy)
        return head.losses(*state).mean(), accuracy

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        head, shard = ctx.head, ctx.head.shard
        labels, unit, weight, *extra = ctx.saved_tensors
        wanted = [value for value in extra if value.requires_grad]
        sums = [torch.zeros_like(value) for value in (unit, *wanted)]
        gradient = torch.empty_like(weight)
        with torch.enable_grad(), torch.autocast(unit.device.type, enabled=False):
            for start, rows in shard.blocks(ctx.width):
                x, w = unit.detach().requires_grad_(), weight[rows].detach().requires_grad_()
                logits = head.class_logits(head.class_cosines(x, w), labels, start, ctx.hard)
                where = place(labels, start, logits.shape[1])
                slopes = head.slopes(logits.detach(), *where, *ctx.state)
                slopes *= slope / len(labels)
                gradient[rows], *parts = torch.autograd.grad(logits, (w, x, *wanted), slopes)
                for total, part in zip(sums, parts, strict=True):
                    total += part
        of_unit, *of_extra = (shard.sum(total) for total in sums)
        of_extra = iter(of_extra)
        return (
            None,
            None,
            shard.own_part(of_unit) * shard.ranks,
            gradient,
            *(next(of_extra) if value.requires_grad else None for value in extra),
        )


def _hard_classes(head: "Head", labels: Tensor, unit: Tensor, weight: Tensor, width: int) -> Tensor:
    """The hardest non-targets [B x num_hard] among the classes of all ranks."""
    shard = head.shard
    blocks = (
        (start, head.class_cosines(unit, weight[rows])) for start, rows in shard.blocks(width)
    )
    found = hardest_others(blocks, labels, head.num_hard)
    values, classes = (torch.cat(shard.gather(part).chunk(shard.ranks), dim=1) for part in found)
    return _highest(values, classes, head.num_hard)[1]


def _nearer(nearest: tuple[Tensor, Tensor], cosines: Tensor, start: int) -> tuple[Tensor, Tensor]:
    """The highest cosine and its class, of those so far and a block; of equal ones the first."""
    value, column = cosines.max(dim=1)
    higher = value > nearest[0]
    return torch.where(higher, value, nearest[0]), torch.where(higher, column + start, nearest[1])


def _nearest_of_all(head: "Head", nearest: tuple[Tensor, Tensor]) -> Tensor:
    value, number = nearest
    is_highest = value == head.shard.max(value)
    return head.shard.min(torch.where(is_highest, number, head.num_classes))
