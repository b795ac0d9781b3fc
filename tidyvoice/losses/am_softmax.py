"""Additive margin softmax.

Wang, Cheng, Liu, Liu: Additive Margin Softmax for Face Verification, IEEE Signal Processing
Letters 25(7), 2018, equation 6. The same loss is CosFace (Wang et al., CVPR 2018).
"""

from typing import Annotated

from pydantic import Field
from torch import Tensor

from tidyvoice.losses.registry import LOSSES, Head


@LOSSES.register("AMSoftmax")
class AMSoftmax(Head):
    """Cosine classifier whose target's logit is s (cos(theta) - m)."""

    def __init__(
        self,
        embed_dim: int,
        num_classes: int,
        scale: Annotated[float, Field(gt=0)] = 32.0,
        margin: float = 0.2,
    ):
        super().__init__(embed_dim, num_classes, scale, margin)

    def target_similarity(self, cosine: Tensor) -> Tensor:
        return cosine - self.margin
