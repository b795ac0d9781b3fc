"""Angular margin softmax with several centres a class, and a penalty on the nearest other classes.

Deng, Guo, Liu, Gong, Zafeiriou: Sub-center ArcFace: Boosting Face Recognition by Large-Scale Noisy
Web Faces, ECCV 2020.
Zhao, Ma, Ding, Zheng, Liu, Xu: Multi-query Multi-head Attention Pooling and Inter-topK Penalty for
Speaker Verification, ICASSP 2022.
"""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from tidyvoice.errors import TidyVoiceError
from tidyvoice.losses.angles import subtract_margin
from tidyvoice.losses.arc_margin import ArcMargin
from tidyvoice.losses.registry import LOSSES, Scale


@LOSSES.register("SubCentreArcMargin")
class SubCentreArcMargin(ArcMargin):
    """``ArcMargin`` on the highest cosine of each class' K centres, against harder impostors.

    The ``top_k`` highest cosines of other classes than the target become cos(theta - penalty),
    extended as in ``angles``, so that the most confusable speakers look nearer than they are.
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
            raise TidyVoiceError(
                f"top_k is {top_k}, but there are {num_classes - 1} classes beside the target"
            )
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
