"""Additive angular margin softmax.

Deng, Guo, Xue, Zafeiriou: ArcFace: Additive Angular Margin Loss for Deep Face Recognition,
CVPR 2019, equation 3.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Keeps the gradient of the square root finite where a cosine is one (its limit is infinite).
SINE_FLOOR = 1e-12


class ArcMargin(nn.Module):
    """Cosine classifier whose target angle is widened by a margin.

    With theta the angle between an embedding and the weight of its class, the target's logit is
    s cos(theta + m). Where theta + m would exceed pi, and the cosine turn back up, it continues as
    s (cos(theta) - 1 - cos(pi - m)), which keeps falling (``easy_margin=False``). With
    ``easy_margin=True`` the margin applies only where theta < pi/2.

    Everything runs in float32, also under autocast: the margin is lost in the rounding of half
    precision.

    Args:
        embed_dim: D.
        num_classes: C.
        scale: s.
        margin: m in radians; an attribute, so that a schedule can set it.
        easy_margin: see above.

    Attributes:
        weight: [C x D].
    """

    def __init__(
        self,
        embed_dim: int,
        num_classes: int,
        scale: float = 32.0,
        margin: float = 0.2,
        easy_margin: bool = False,
    ):
        super().__init__()
        self.scale = scale
        self.margin = margin
        self.easy_margin = easy_margin
        self.weight = nn.Parameter(torch.empty(num_classes, embed_dim))
        nn.init.xavier_uniform_(self.weight)

    def logits(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Scaled logits [B x C] of embeddings [B x D], with the margin on each label's class.

        Args:
            embeddings: [B x D].
            labels: int64 [B], in 0..C-1.
        """
        return self._with_margin(self.cosines(embeddings), labels)

    def cosines(self, embeddings: Tensor) -> Tensor:
        """Cosine [B x C] of each embedding with each class."""
        with torch.autocast(embeddings.device.type, enabled=False):
            return F.linear(F.normalize(embeddings.float()), F.normalize(self.weight))

    def forward(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Cross entropy (a scalar) and the share of the batch whose class is the nearest."""
        cosines = self.cosines(embeddings)
        accuracy = (cosines.detach().argmax(dim=1) == labels).float().mean()
        return F.cross_entropy(self._with_margin(cosines, labels), labels), accuracy

    def _with_margin(self, cosines: Tensor, labels: Tensor) -> Tensor:
        rows = labels.unsqueeze(1)
        cosine = cosines.gather(1, rows)
        sine = (1.0 - cosine.square()).clamp(min=SINE_FLOOR).sqrt()
        widened = cosine * math.cos(self.margin) - sine * math.sin(self.margin)
        turn = math.cos(math.pi - self.margin)
        if self.easy_margin:
            target = torch.where(cosine > 0, widened, cosine)
        else:
            target = torch.where(cosine > turn, widened, cosine - 1.0 - turn)
        return self.scale * cosines.scatter(1, rows, target)
