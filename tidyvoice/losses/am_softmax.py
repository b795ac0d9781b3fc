"""Additive margin softmax.

Wang, Cheng, Liu, Liu: Additive Margin Softmax for Face Verification, IEEE Signal Processing
Letters 25(7), 2018, equation 6. The same loss is CosFace (Wang et al., CVPR 2018).
"""

from torch import Tensor, distributed

from tidyvoice.losses.softmax import SoftmaxHead


class AMSoftmax(SoftmaxHead):
    """Cosine classifier whose target's logit is s (cos(theta) - m).

    Args:
        embed_dim: D.
        num_classes: C.
        scale: s.
        margin: m, a difference of cosines; an attribute, so that a schedule can set it.
        logit_mib: see ``Head``, as for precision and gradients.
        group: see ``Head``.

    Attributes:
        weight: [C x D].
    """

    def __init__(
        self,
        embed_dim: int,
        num_classes: int,
        scale: float = 32.0,
        margin: float = 0.2,
        *,
        logit_mib: float | None = None,
        group: "distributed.ProcessGroup | None" = None,
    ):
        super().__init__(embed_dim, num_classes, scale, margin, logit_mib=logit_mib, group=group)

    def target_similarity(self, cosine: Tensor) -> Tensor:
        return cosine - self.margin
