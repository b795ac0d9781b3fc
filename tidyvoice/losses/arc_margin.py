"""Softmax with a margin on the target's cosine or angle, and with several centres a class.

Where a margin moves an angle beyond pi or below zero, the cosine would turn back. There it
continues with the slope of cos(theta), so that angles keep their order and gradients do not vanish.
"""

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from tidyvoice.errors import TidyVoiceError
from tidyvoice.losses.registry import LOSSES, Head, Scale

# Keeps the gradient of the square root finite where a cosine is one (its limit is infinite).
SINE_FLOOR = 1e-12


def _sine(cosine: Tensor) -> Tensor:
    return (1.0 - cosine.square()).clamp(min=SINE_FLOOR).sqrt()


def add_margin(cosine: Tensor, margin: float, easy: bool = False) -> Tensor:
    """Return cos(theta + margin), and cos(theta) - 1 - cos(pi - margin) where theta + margin > pi.

    With ``easy`` the margin applies only where theta < pi/2.
    """
    widened = cosine * math.cos(margin) - _sine(cosine) * math.sin(margin)
    if easy:
        return torch.where(cosine > 0, widened, cosine)
    turn = math.cos(math.pi - margin)
    return torch.where(cosine > turn, widened, cosine - 1.0 - turn)


def subtract_margin(cosine: Tensor, margin: float) -> Tensor:
    """Return cos(theta - margin), and cos(theta) + 1 - cos(margin) where theta < margin."""
    turn = math.cos(margin)
    narrowed = cosine * turn + _sine(cosine) * math.sin(margin)
    return torch.where(cosine < turn, narrowed, cosine + 1.0 - turn)


@LOSSES.register("AMSoftmax")
class AMSoftmax(Head):
    """Cosine classifier whose target's logit is s (cos(theta) - m).

    Wang, Cheng, Liu, Liu: Additive Margin Softmax for Face Verification, IEEE Signal Processing
    Letters 25(7), 2018, equation 6. The same loss is CosFace (Wang et al., CVPR 2018).
    """

    def target_similarity(self, cosine: Tensor) -> Tensor:
        return cosine - self.margin


@LOSSES.register("ArcMargin")
class ArcMargin(Head):
    """Cosine classifier that adds a margin to the target angle.

    Deng, Guo, Xue, Zafeiriou: ArcFace: Additive Angular Margin Loss for Deep Face Recognition,
    CVPR 2019, equation 3. With theta the angle between an embedding and the weight of its class,
    the target's logit is s cos(theta + m), extended as in ``add_margin``.

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


@LOSSES.register("SubCentreArcMargin")
class SubCentreArcMargin(ArcMargin):
    """``ArcMargin`` on the highest cosine of each class' K centres, against harder impostors.

    Deng, Guo, Liu, Gong, Zafeiriou: Sub-center ArcFace: Boosting Face Recognition by Large-Scale
    Noisy Web Faces, ECCV 2020. Zhao, Ma, Ding, Zheng, Liu, Xu: Multi-query Multi-head Attention
    Pooling and Inter-topK Penalty for Speaker Verification, ICASSP 2022.

    The ``top_k`` highest cosines of other classes than the target become cos(theta - penalty),
    extended as in ``subtract_margin``, so that the most confusable speakers look nearer.
    (WeSpeaker's arc_margin_intertopk_subcenter has no extension. It scales the penalty by
    margin / 0.2, and drops it for its large-margin stage.)

    Args:
        sub_centres: K.
        top_k: penalised classes an embedding; 0 for none.
        penalty: in radians.
    """

    def __init__(
        self,
        embed_dim: int,
        num_classes: int,
        scale: Scale = 32.0,
        margin: float = 0.2,
        easy_margin: bool = False,
        sub_centres: Annotated[int, Field(ge=1, le=100)] = 3,
        top_k: Annotated[int, Field(ge=0, le=10**6)] = 5,
        penalty: Annotated[float, Field(ge=0, lt=1.6)] = 0.06,
    ):
        if top_k >= num_classes:
            raise TidyVoiceError(f"top_k {top_k} is not below {num_classes} classes: set it lower")
        self.rows_per_class = sub_centres
        super().__init__(embed_dim, num_classes, scale, margin, easy_margin)
        self.top_k = top_k
        self.penalty = penalty

    def cosines(self, embeddings: Tensor) -> Tensor:
        of_centres = super().cosines(embeddings)
        return of_centres.unflatten(1, (-1, self.rows_per_class)).max(dim=2).values

    def class_logits(self, cosines: Tensor, labels: Tensor) -> Tensor:
        if self.top_k and self.penalty:
            others = cosines.detach().scatter(1, labels.unsqueeze(1), -torch.inf)
            nearest = others.topk(self.top_k, dim=1).indices
            penalised = subtract_margin(cosines.gather(1, nearest), self.penalty)
            cosines = cosines.scatter(1, nearest, penalised)
        return super().class_logits(cosines, labels)
