"""Softmax cross entropy of cosines: the margin losses but for their margin."""

import torch
from torch import Tensor
from torch.nn import functional as F

from tidyvoice.losses.head import Head


class SoftmaxHead(Head):
    """Mean of log(sum over j of exp(z_j)) - z_y, for logits z and the class y.

    In blocks, log-sum-exp of the non-targets and logit of the target are kept apart: their
    difference is exact to rounding also where the loss is near zero.
    """

    def mean_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels)

    def block_state(self, logits: Tensor, column: Tensor, here: Tensor) -> tuple[Tensor, ...]:
        """Log-sum-exp of the non-targets; logit of the target, 0 where it is elsewhere."""
        at_column = logits.gather(1, column)
        others = logits.scatter_(1, column, torch.where(here, -torch.inf, at_column))
        return others.logsumexp(dim=1), torch.where(here, at_column, 0.0).squeeze(1)

    def merge(self, one: tuple[Tensor, ...], two: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return torch.logaddexp(one[0], two[0]), one[1] + two[1]

    def combine(self, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return self.shard.log_sum_exp(state[0]), self.shard.sum(state[1])

    def losses(self, *state: Tensor) -> Tensor:
        others, target = state
        return -F.logsigmoid(target - others)

    def slopes(self, logits: Tensor, column: Tensor, here: Tensor, *state: Tensor) -> Tensor:
        others, target = (part.unsqueeze(1) for part in state)
        total = torch.logaddexp(others, target)
        slopes = (logits - total).exp_()
        at_target = -(others - total).exp()
        return slopes.scatter_(1, column, torch.where(here, at_target, slopes.gather(1, column)))
