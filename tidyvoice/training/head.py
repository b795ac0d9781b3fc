"""A new loss head that starts at the speakers' mean embeddings instead of at random."""

import torch
from torch import Tensor

from tidyvoice.training.world import World


class ClassMeans:
    """Running sum of unit-length embeddings, one row a class.

    Args:
        classes: C.
        dim: D.
    """

    def __init__(self, classes: int, dim: int, device: torch.device):
        self._sum = torch.zeros(classes, dim, device=device)
        self._seen = torch.zeros(classes, dtype=torch.bool, device=device)

    def add(self, embeddings: Tensor, labels: Tensor) -> None:
        """Count embeddings [B x D] of classes [B]."""
        self._sum.index_add_(0, labels, torch.nn.functional.normalize(embeddings.float()))
        self._seen[labels] = True

    def share(self, world: World) -> None:
        """Add the sums of the other processes. Collective."""
        self._sum = world.mean(self._sum)  # only its direction counts
        self._seen = world.mean(self._seen.float()) > 0

    def fill(self, weight: Tensor) -> int:
        """Overwrite the rows of ``weight`` [C x D] whose class was seen; how many that is.

        The means are centred on their own mean: raw embeddings share a large common part, and
        classes that all point the same way would start as one.
        """
        means = torch.nn.functional.normalize(self._sum)[self._seen]
        means = torch.nn.functional.normalize(means - means.mean(dim=0))
        lengths = weight.detach()[self._seen].norm(dim=1, keepdim=True)
        with torch.no_grad():
            weight[self._seen] = means * lengths
        return int(self._seen.sum())
