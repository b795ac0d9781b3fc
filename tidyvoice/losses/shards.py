"""The classes that one rank of a process group holds, and what the ranks tell each other."""

from collections.abc import Iterator

import torch
from torch import Tensor, distributed

from tidyvoice.errors import TidyVoiceError


class ClassShard:
    """Neighbouring classes of one rank; the first ``classes % ranks`` ranks hold one more.

    Without a group there is one rank, which holds every class, and nothing is sent. Everything
    that sends is collective: all ranks of the group call it, in the same order. Only ``all_gather``
    and ``all_reduce`` are used, which gloo and nccl both have.

    Args:
        num_classes: C, of all ranks together.
        rows_per_class: rows of the weight that one class has.
        group: ranks that share the classes.

    Attributes:
        start: first class held.
        stop: the class after the last one held.

    Raises:
        TidyVoiceError: fewer classes than ranks.
    """

    def __init__(
        self, num_classes: int, rows_per_class: int, group: "distributed.ProcessGroup | None"
    ):
        self.group = group
        self.num_classes = num_classes
        self.rows_per_class = rows_per_class
        self.ranks = 1 if group is None else distributed.get_world_size(group)
        self.rank = 0 if group is None else distributed.get_rank(group)
        if num_classes < self.ranks:
            raise TidyVoiceError(
                f"{num_classes:,} classes cannot be shared by {self.ranks:,} ranks: start fewer"
            )
        self.start, self.stop = self._bounds(self.rank)

    def _bounds(self, rank: int) -> tuple[int, int]:
        share, rest = divmod(self.num_classes, self.ranks)
        start = rank * share + min(rank, rest)
        return start, start + share + (rank < rest)

    def blocks(self, width: int) -> Iterator[tuple[int, slice]]:
        """The first class, and the rows of this rank's weight, of each ``width`` classes held."""
        for start in range(self.start, self.stop, width):
            stop = min(start + width, self.stop)
            first, last = start - self.start, stop - self.start
            yield start, slice(first * self.rows_per_class, last * self.rows_per_class)

    def own_rows(self, whole: Tensor) -> Tensor:
        """This rank's rows of a tensor that has those of all classes; a view."""
        return whole[self.start * self.rows_per_class : self.stop * self.rows_per_class]

    def all_rows(self, own: Tensor) -> Tensor:
        """The rows of all ranks, in the order of the classes: the inverse of ``own_rows``."""
        if self.group is None:
            return own
        counts = [stop - start for start, stop in map(self._bounds, range(self.ranks))]
        # Ranks must send tensors of one shape, so the shorter slices are padded.
        padded = own.new_zeros(max(counts) * self.rows_per_class, *own.shape[1:])
        padded[: len(own)] = own
        parts = self.gather(padded).chunk(self.ranks)
        return torch.cat(
            [part[: n * self.rows_per_class] for part, n in zip(parts, counts, strict=True)]
        )

    def check(self, labels: Tensor) -> None:
        """Stop all ranks at once where one of them would stop, or make the others wait for ever.

        Raises:
            TidyVoiceError: a label is not in 0..C-1, or batches differ in size over the ranks.
        """
        low, high = labels.aminmax()
        said = self.gather(torch.stack([torch.full_like(low, len(labels)), low, high])[None])
        sizes, lows, highs = zip(*said.tolist(), strict=True)
        if min(lows) < 0 or max(highs) >= self.num_classes:
            raise TidyVoiceError(
                f"labels are {min(lows)}..{max(highs)}, but the loss has the classes "
                f"0..{self.num_classes - 1}"
            )
        if len(set(sizes)) > 1:
            raise TidyVoiceError(
                f"the ranks' batches have {', '.join(map(str, sizes))} rows: give each as many"
            )

    def gather(self, own: Tensor) -> Tensor:
        """The tensors [B x ..] of all ranks, of one shape, joined in the order of the ranks."""
        if self.group is None:
            return own
        own = own.contiguous()
        parts = [torch.empty_like(own) for _ in range(self.ranks)]
        distributed.all_gather(parts, own, group=self.group)
        return torch.cat(parts)

    def own_part(self, gathered: Tensor) -> Tensor:
        """This rank's rows of what ``gather`` joined."""
        return gathered.chunk(self.ranks)[self.rank]

    def sum(self, own: Tensor) -> Tensor:
        """Sum over the ranks."""
        return self._reduce(own, distributed.ReduceOp.SUM)

    def max(self, own: Tensor) -> Tensor:
        """Maximum over the ranks."""
        return self._reduce(own, distributed.ReduceOp.MAX)

    def min(self, own: Tensor) -> Tensor:
        """Minimum over the ranks."""
        return self._reduce(own, distributed.ReduceOp.MIN)

    def log_sum_exp(self, own: Tensor) -> Tensor:
        """log(sum(exp(x))) over the ranks; finite where x is finite on one of them."""
        if self.group is None:
            return own
        highest = self.max(own)
        return highest + self.sum((own - highest).exp()).log()

    def _reduce(self, own: Tensor, operation: distributed.ReduceOp) -> Tensor:
        if self.group is None:
            return own
        result = own.clone()
        distributed.all_reduce(result, operation, group=self.group)
        return result
