"""Additive angular margin softmax.

Deng, Guo, Xue, Zafeiriou: ArcFace: Additive Angular Margin Loss for Deep Face Recognition,
CVPR 2019, equation 3.
"""

from torch import Tensor

from tidyvoice.losses.angles import add_margin
from tidyvoice.losses.registry import LOSSES, Head, Scale


@LOSSES.register("ArcMargin")
class ArcMargin(Head):
    """Cosine classifier that adds a margin to the target angle.

    With theta the angle between an embedding and the weight of its class, the target's logit is
    s cos(theta + m), extended as in ``angles``.

    Args:
        margin: m in radians.
        easy_margin: apply the margin only where theta < pi/2.
    """

    def __init__(
        self,
        embed_dim: int,
        num_classes: int,
        scale: Scale = 32.0,
        margin: float = 0.2,
        easy_margin: bool = False,
    ):
        super().__init__(embed_dim, num_classes, scale, margin)
        self.easy_margin = easy_margin

    def target_similarity(self, cosine: Tensor) -> Tensor:
        return add_margin(cosine, self.margin, self.easy_margin)
