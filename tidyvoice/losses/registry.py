"""The registry of losses over speaker classes, and what they have in common."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from tidyvoice.errors import TidyVoiceError
from tidyvoice.settings.registry import Registry

Scale = Annotated[float, Field(gt=0, le=1000)]


class Head(nn.Module):
    """A loss of the cosines between embeddings and the weights of classes.

    It computes in float32 at least, also under autocast: half precision rounds the margin away.
    A subclass defines how cosines change, and the loss of the logits.

    Shapes: B embeddings of D dimensions, C classes, labels int64 [B] in 0..C-1.

    Attributes:
        weight: [C K x D], row c K + k.
        rows_per_class: K; a subclass sets it before the weight is made.
        scale: s.
        margin: m; the trainer sets it at every step.
    """

    rows_per_class = 1

    def __init__(self, embed_dim: int, num_classes: int, scale: Scale = 32.0, margin: float = 0.2):
        super().__init__()
        if num_classes < 2:
            raise TidyVoiceError(f"num_classes is {num_classes}: a loss needs two classes")
        self.num_classes = num_classes
        self.scale = scale
        self.margin = margin
        self.weight = nn.Parameter(torch.empty(num_classes * self.rows_per_class, embed_dim))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss (a scalar) and the share of the batch whose target's logit is highest.

        As in WeSpeaker that logit carries the margin: the accuracy falls when the margin rises.
        """
        logits = self.logits(embeddings, labels)
        accuracy = (logits.detach().argmax(dim=1) == labels).float().mean()
        return self.mean_loss(logits, labels), accuracy

    def logits(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return scaled logits [B x C] of embeddings [B x D], with the margin on each target."""
        return self.class_logits(self.cosines(embeddings), labels)

    def cosines(self, embeddings: Tensor) -> Tensor:
        """Return the cosine [B x C] of each embedding [B x D] with each class."""
        with torch.autocast(embeddings.device.type, enabled=False):
            dtype = torch.promote_types(embeddings.dtype, self.weight.dtype)
            dtype = torch.promote_types(dtype, torch.float32)
            return F.linear(F.normalize(embeddings.to(dtype)), F.normalize(self.weight.to(dtype)))

    def class_logits(self, cosines: Tensor, labels: Tensor) -> Tensor:
        """Return the logits [B x C] of cosines [B x C]."""
        logits = self.scale * self.other_similarity(cosines)
        # By index, because the backward pass of gather keeps all cosines in memory.
        target = torch.arange(len(labels), device=labels.device), labels
        logits[target] = self.scale * self.target_similarity(cosines[target])
        return logits

    def target_similarity(self, cosine: Tensor) -> Tensor:
        """Return the changed cosines of target classes, elementwise."""
        raise NotImplementedError

    def other_similarity(self, cosines: Tensor) -> Tensor:
        """Return the changed cosines of all other classes, elementwise."""
        return cosines

    def mean_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss (a scalar) of logits [B x C]; the softmax cross entropy by default."""
        return F.cross_entropy(logits, labels)

    def fit(self, embeddings: Tensor, labels: Tensor) -> None:
        """Fit the parameters beside the weight, if there are any, to embeddings [B x D]."""


LOSSES: Registry[type[Head]] = Registry("loss")
