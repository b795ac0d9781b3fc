"""What the losses over speaker classes share: weight, cosines, accuracy, blocks and shards."""

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F

from tidyvoice.errors import TidyVoiceError
from tidyvoice.losses.blocks import BlockedLoss, hardest_others, place
from tidyvoice.losses.shards import ClassShard


class Head(nn.Module):
    """A loss of the cosines between embeddings and the weights of classes.

    Everything runs in float32 at least, also under autocast: the margin is lost in the rounding
    of half precision. Inputs in float64 stay in float64.

    **In blocks.** With ``logit_mib`` the [B x C] cosines and logits are never made whole: the
    forward goes over blocks of classes and keeps three numbers an embedding, the backward makes
    each block again. The loss is the same sum, exact but for rounding, at the price of one more
    matrix product. No tensor beside the weight and its gradient is larger than ``logit_mib``
    (as long as one class fits into it); about six of that size exist at a time.

    **Over ranks.** With ``group``, each rank holds the weights of its share of the classes only,
    and all ranks call ``forward`` and ``backward`` together, with equally many embeddings. What
    they get:

    - the loss, and the accuracy, over the embeddings of *all* ranks, the same on every rank;
    - as gradient of a rank's embeddings that of this loss, times the number of ranks R, so that the
      gradient of the model is that of one process with the whole batch after it was averaged over
      the ranks, which DistributedDataParallel does;
    - as gradient of the weight (the rank's rows) and of a bias that of this loss, not times R. They
      are complete, and equal on all ranks for a bias: the head stays outside of
      DistributedDataParallel.

    Initial weights are drawn for all classes, and a rank keeps its own: ranks with the same seed
    begin as one process would. ``full_weight`` and ``load_full_weight`` make checkpoints that do
    not depend on the number of ranks (so do ``shard.all_rows`` and ``shard.own_rows`` for what an
    optimizer keeps of the weight).

    A subclass says what becomes of the cosines (``target_similarity``, ``other_similarity``), and
    how the logits are summed up: whole (``mean_loss``), and in parts (``block_state``, ``merge``,
    ``combine``, ``losses``, ``slopes``).

    Args:
        embed_dim: D.
        num_classes: C.
        scale: s.
        margin: m; an attribute, so that a schedule can set it.
        rows_per_class: K, weight rows of a class.
        logit_mib: see above; None makes the logits whole.
        group: see above; None is one process. The device of the head must be one that the
            backend of the group sends from.

    Attributes:
        weight: [C K x D], row c K + k; with a group, the rows of this rank's classes.

    Raises:
        TidyVoiceError: an argument has no meaning, or there are fewer classes than ranks.
    """

    # Non-target classes of an embedding that other_similarity treats apart.
    num_hard = 0

    def __init__(
        self,
        embed_dim: int,
        num_classes: int,
        scale: float,
        margin: float,
        rows_per_class: int = 1,
        logit_mib: float | None = None,
        group: "distributed.ProcessGroup | None" = None,
    ):
        super().__init__()
        require(num_classes >= 2, f"num_classes is {num_classes}: a loss needs two classes")
        require(scale > 0, f"scale is {scale}: it must be above 0")
        require(logit_mib is None or logit_mib > 0, f"logit_mib is {logit_mib}: it must be above 0")
        self.scale = scale
        self.margin = margin
        self.logit_mib = logit_mib
        self.shard = ClassShard(num_classes, rows_per_class, group)
        whole = nn.init.xavier_uniform_(torch.empty(num_classes * rows_per_class, embed_dim))
        self.weight = nn.Parameter(whole if group is None else self.shard.own_rows(whole).clone())

    @property
    def num_classes(self) -> int:
        """C, of all ranks together."""
        return self.shard.num_classes

    def logits(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Scaled logits [B x C] of embeddings [B x D], with the margin on each label's class.

        Args:
            embeddings: [B x D].
            labels: int64 [B], in 0..C-1.

        Raises:
            TidyVoiceError: the classes are shared by several ranks.
        """
        require(
            self.shard.group is None, "the logits of one rank are not all: call the head itself"
        )
        return self._whole_logits(self.cosines(embeddings), labels)

    def cosines(self, embeddings: Tensor) -> Tensor:
        """Cosine [B x C] of each embedding with each class (with a group, of this rank's)."""
        with torch.autocast(embeddings.device.type, enabled=False):
            dtype = self._dtype(embeddings)
            return self.class_cosines(F.normalize(embeddings.to(dtype)), self.weight.to(dtype))

    def forward(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The loss (a scalar) and the share of the batch whose class is the nearest.

        Args:
            embeddings: [B x D].
            labels: int64 [B], in 0..C-1.

        Raises:
            TidyVoiceError: in blocks or over ranks, a label is no class, or the ranks bring
                batches of different sizes.
        """
        if self.logit_mib is not None or self.shard.group is not None:
            return self._blocked(embeddings, labels)
        cosines = self.cosines(embeddings)
        accuracy = (cosines.detach().argmax(dim=1) == labels).float().mean()
        return self.mean_loss(self._whole_logits(cosines, labels), labels), accuracy

    def full_weight(self) -> Tensor:
        """The weight [C K x D] of all classes, on every rank. Collective."""
        return self.shard.all_rows(self.weight.detach())

    def load_full_weight(self, weight: Tensor) -> None:
        """Take this rank's rows of the weight [C K x D] of all classes.

        Raises:
            TidyVoiceError: it has another shape.
        """
        shape = (self.num_classes * self.shard.rows_per_class, self.weight.shape[1])
        require(
            tuple(weight.shape) == shape,
            f"the loss weight is {' x '.join(map(str, weight.shape))}, not "
            f"{shape[0]} x {shape[1]}: it belongs to other classes or another model",
        )
        with torch.no_grad():
            self.weight.copy_(self.shard.own_rows(weight))

    def fit(self, embeddings: Tensor, labels: Tensor) -> None:
        """Set what is neither weight nor margin to where the loss of these is least. Collective.

        Most losses have nothing of the kind.

        Args:
            embeddings: [B x D].
            labels: int64 [B], in 0..C-1.
        """

    def class_cosines(self, unit: Tensor, weight: Tensor) -> Tensor:
        """Cosines [B x C'] of embeddings of unit length [B x D] with C' classes [C' K x D]."""
        return F.linear(unit, F.normalize(weight))

    def class_logits(
        self, cosines: Tensor, labels: Tensor, start: int, hard: Tensor | None
    ) -> Tensor:
        """Logits [B x C'] of C' classes.

        Args:
            cosines: [B x C'].
            labels: [B], in 0..C-1.
            start: number of the first of these classes.
            hard: [B x num_hard], the non-target classes of the highest cosines.
        """
        column, here = place(labels, start, cosines.shape[1])
        others = self.other_similarity(cosines, start, hard)
        target = torch.where(
            here, self.target_similarity(cosines.gather(1, column)), others.gather(1, column)
        )
        return self.scale * others.scatter(1, column, target)

    def target_similarity(self, cosine: Tensor) -> Tensor:
        """What the cosine of the target class becomes, elementwise."""
        raise NotImplementedError

    def other_similarity(self, cosines: Tensor, start: int, hard: Tensor | None) -> Tensor:
        """What the cosines [B x C'] of the classes from ``start`` on become as non-targets."""
        return cosines

    def mean_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of whole logits [B x C]."""
        raise NotImplementedError

    def block_state(self, logits: Tensor, column: Tensor, here: Tensor) -> tuple[Tensor, ...]:
        """What is kept of the logits of a block [B x C'], each [B]; they may be overwritten.

        Args:
            column: [B x 1], the target's place.
            here: bool [B x 1], whether the target is in this block at all.
        """
        raise NotImplementedError

    def merge(self, one: tuple[Tensor, ...], two: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """What is kept of two blocks together."""
        raise NotImplementedError

    def combine(self, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """What is kept of the blocks of all ranks."""
        raise NotImplementedError

    def losses(self, *state: Tensor) -> Tensor:
        """The loss [B] of each embedding."""
        raise NotImplementedError

    def slopes(self, logits: Tensor, column: Tensor, here: Tensor, *state: Tensor) -> Tensor:
        """Derivative of ``losses`` with respect to the logits of a block [B x C']."""
        raise NotImplementedError

    def block_classes(self, rows: int, itemsize: int) -> int:
        """Classes of a block, for a batch of ``rows``, so that its tensors fit ``logit_mib``."""
        if self.logit_mib is None:
            return self.shard.stop - self.shard.start
        # A block of unit weights can be larger than its logits.
        per_class = max(rows, self.weight.shape[1]) * itemsize * self.shard.rows_per_class
        return max(int(self.logit_mib * 2**20 / per_class), 1)

    def extra_repr(self) -> str:
        rows, dim = self.weight.shape
        return f"{dim}, {self.num_classes}, weight=[{rows} x {dim}], scale={self.scale}"

    def _whole_logits(self, cosines: Tensor, labels: Tensor) -> Tensor:
        hard = None
        if self.num_hard:
            hard = hardest_others([(0, cosines.detach())], labels, self.num_hard)[1]
        return self.class_logits(cosines, labels, 0, hard)

    def _blocked(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        self.shard.check(labels)
        with torch.autocast(embeddings.device.type, enabled=False):
            dtype = self._dtype(embeddings)
            unit = F.normalize(embeddings.to(dtype))
            extra = [value for name, value in self.named_parameters() if name != "weight"]
            return BlockedLoss.apply(self, labels, unit, self.weight.to(dtype), *extra)

    def _dtype(self, embeddings: Tensor) -> torch.dtype:
        wider = torch.promote_types(embeddings.dtype, self.weight.dtype)
        return torch.promote_types(wider, torch.float32)


def require(condition: bool, mistake: str) -> None:
    """Raise TidyVoiceError with the ``mistake`` unless the condition holds."""
    if not condition:
        raise TidyVoiceError(mistake)
