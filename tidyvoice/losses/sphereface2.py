"""Binary classification of every class against the rest.

Wen, Liu, Weller, Raj, Singh: SphereFace2: Binary Classification is All You Need for Deep Face
Recognition, ICLR 2022, equation 5.
Han, Chen, Qian: Exploring Binary Classification Loss for Speaker Verification, ICASSP 2023.
"""

import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from tidyvoice.errors import TidyVoiceError
from tidyvoice.losses.arc_margin import add_margin, subtract_margin
from tidyvoice.losses.registry import LOSSES, Head, Scale

FAR = 30.0  # a logit where the sigmoid is flat
HALVINGS = 24  # of a range of about 140, to 1e-5


@LOSSES.register("SphereFace2")
class SphereFace2(Head):
    """One logistic regression a class: is the embedding of this speaker or not?

    With g(z) = 2 ((z + 1) / 2)^t - 1 and the logits z_y = s p + b of the target and
    z_j = s n_j + b of the others, the loss of an embedding is

        lambda log(1 + exp(-z_y)) + (1 - lambda) sum over j != y of log(1 + exp(z_j))

    - margin type "C": p = g(cos(theta_y)) - m, n_j = g(cos(theta_j)) + m;
    - margin type "A": p = g(cos(theta_y + m)), n_j = g(cos(theta_j - m)), extended as in
      ``arc_margin``.

    As in the second paper and its WeSpeaker code the sum has no factor 1/s, and "A" moves the
    angles of both sides. That code recommends the margin 0.2 for "C" and 0.15 for "A", and 0.3 and
    0.25 in a large-margin stage.

    Args:
        margin: m.
        balance: lambda.

    Attributes:
        bias: b, a scalar.
    """

    def __init__(
        self,
        embed_dim: int,
        num_classes: int,
        scale: Scale = 32.0,
        margin: float = 0.2,
        margin_type: Literal["C", "A"] = "C",
        balance: Annotated[float, Field(gt=0, lt=1)] = 0.7,
        t: Annotated[float, Field(ge=1, le=100)] = 3.0,
    ):
        super().__init__(embed_dim, num_classes, scale, margin)
        self.margin_type = margin_type
        self.balance = balance
        self.t = t
        self.bias = nn.Parameter(torch.tensor(self._first_bias()))

    def _first_bias(self) -> float:
        """Return the bias whose gradient is zero at right angles, as those of random weights are.

        With odds q = lambda / ((1 - lambda) (C - 1)), and P and N the logits of target and others
        without a bias, it is log(2 q) - N - log(1 - q + sqrt((1 - q)^2 + 4 q exp(P - N))).
        """
        right = torch.zeros(1, 1, dtype=torch.float64, device="cpu")
        target = self.scale * float(self.target_similarity(right))
        other = self.scale * float(self.other_similarity(right))
        odds = self.balance / ((1 - self.balance) * (self.num_classes - 1))
        root = math.sqrt((1 - odds) ** 2 + 4 * odds * math.exp(target - other))
        if not 1 - odds + root > 0:
            raise TidyVoiceError(f"balance and scale are too high for {self.num_classes} classes")
        return math.log(2 * odds) - other - math.log(1 - odds + root)

    def fit(self, embeddings: Tensor, labels: Tensor) -> None:
        """Set the bias to where the mean loss of embeddings [B x D] is least."""
        # The loss is convex in the bias, and all logits are far on one side of zero at both ends.
        high = self.scale * (1 + self.margin) + FAR
        low = -high
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            with torch.no_grad():
                self.bias.fill_(middle)
            (slope,) = torch.autograd.grad(self(embeddings, labels)[0], self.bias)
            low, high = (low, middle) if slope > 0 else (middle, high)

    def adjusted(self, similarity: Tensor) -> Tensor:
        """Return g(z) where z is -1 or more, and -1 below (rounding can carry a cosine there)."""
        return 2 ** (1 - self.t) * (similarity + 1).relu().pow(self.t) - 1

    def target_similarity(self, cosine: Tensor) -> Tensor:
        if self.margin_type == "C":
            return self.adjusted(cosine) - self.margin
        widened = add_margin(cosine, self.margin)
        return self.adjusted(widened) + (widened + 1).clamp(max=0)

    def other_similarity(self, cosines: Tensor) -> Tensor:
        if self.margin_type == "C":
            return self.adjusted(cosines) + self.margin
        return self.adjusted(subtract_margin(cosines, self.margin))

    def class_logits(self, cosines: Tensor, labels: Tensor) -> Tensor:
        return super().class_logits(cosines, labels) + self.bias

    def mean_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        column = labels.unsqueeze(1)
        target = F.softplus(-logits.gather(1, column)).squeeze(1)
        others = F.softplus(logits.scatter(1, column, -torch.inf)).sum(dim=1)
        return (self.balance * target + (1 - self.balance) * others).mean()
