"""Additive margin softmax.

Wang, Cheng, Liu, Liu: Additive Margin Softmax for Face Verification, IEEE Signal Processing
Letters 25(7), 2018, equation 6. The same loss is CosFace (Wang et al., CVPR 2018).
"""

from torch import Tensor

from tidyvoice.losses.registry import LOSSES, Head


@LOSSES.register("AMSoftmax")
class AMSoftmax(Head):
    """Cosine classifier whose target's logit is s (cos(theta) - m)."""

    def target_similarity(self, cosine: Tensor) -> Tensor:
        return cosine - self.margin
