"""Angular margin softmax with several centres a class, and a penalty on the nearest other classes.

Deng, Guo, Liu, Gong, Zafeiriou: Sub-center ArcFace: Boosting Face Recognition by Large-Scale Noisy
Web Faces, ECCV 2020.
Zhao, Ma, Ding, Zheng, Liu, Xu: Multi-query Multi-head Attention Pooling and Inter-topK Penalty for
Speaker Verification, ICASSP 2022.
"""

import torch
from torch import Tensor, distributed
from torch.nn import functional as F

from tidyvoice.losses.angles import narrower, wider
from tidyvoice.losses.head import require
from tidyvoice.losses.softmax import SoftmaxHead


class SubCentreArcMargin(SoftmaxHead):
    """``ArcMargin`` on the highest cosine of each class' K centres, against harder impostors.

    The ``top_k`` highest cosines of other classes than the target become cos(theta - penalty): the
    most confusable speakers look nearer than they are. Where theta < penalty that cosine would turn
    back down; it continues as cos(theta) + 1 - cos(penalty), which keeps rising, and pushing, up to
    theta = 0. (WeSpeaker's arc_margin_intertopk_subcenter turns back.) A penalty of 0 takes all of
    this away, as WeSpeaker does for its large-margin stage; before, it scales the penalty with the
    margin, by margin / 0.2.

    In blocks and over ranks the penalty is exact too. It costs one more pass over the cosines,
    which finds the ``top_k`` of all blocks and ranks.

    Args:
        embed_dim: D.
        num_classes: C, more than ``top_k``.
        scale: s.
        margin: m in radians; an attribute, so that a schedule can set it.
        easy_margin: the margin applies only where theta < pi/2.
        sub_centres: K.
        top_k: penalised classes an embedding; 0 for none.
        penalty: in radians, 0..pi/2; an attribute, so that a schedule can set it.
        logit_mib: see ``Head``, as for precision and gradients.
        group: see ``Head``.

    Attributes:
        weight: [C K x D], row c K + k.

    Raises:
        TidyVoiceError: an argument has no meaning.
    """

    def __init__(
        self,
        embed_dim: int,
        num_classes: int,
        scale: float = 32.0,
        margin: float = 0.2,
        easy_margin: bool = False,
        sub_centres: int = 3,
        top_k: int = 5,
        penalty: float = 0.06,
        *,
        logit_mib: float | None = None,
        group: "distributed.ProcessGroup | None" = None,
    ):
        require(sub_centres >= 1, f"sub_centres is {sub_centres}: a class needs one")
        require(
            0 <= top_k < num_classes,
            f"top_k is {top_k}, but there are {num_classes - 1} classes beside the target",
        )
        super().__init__(embed_dim, num_classes, scale, margin, sub_centres, logit_mib, group)
        self.easy_margin = easy_margin
        self.top_k = top_k
        self.penalty = penalty

    @property
    def num_hard(self) -> int:
        """Classes that are penalised now."""
        return self.top_k if self.penalty else 0

    def class_cosines(self, unit: Tensor, weight: Tensor) -> Tensor:
        cosines = super().class_cosines(unit, weight)
        return cosines.unflatten(1, (-1, self.shard.rows_per_class)).max(dim=2).values

    def target_similarity(self, cosine: Tensor) -> Tensor:
        return wider(cosine, self.margin, self.easy_margin)

    def other_similarity(self, cosines: Tensor, start: int, hard: Tensor | None) -> Tensor:
        if hard is None:
            return cosines
        width = cosines.shape[1]
        column = hard - start
        # Classes of other blocks go to a column of their own, which is then cut off.
        column = torch.where((column >= 0) & (column < width), column, width)
        padded = F.pad(cosines, (0, 1))
        harder = narrower(padded.gather(1, column), self.penalty)
        return padded.scatter(1, column, harder)[:, :width]
