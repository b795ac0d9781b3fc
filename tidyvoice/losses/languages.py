"""Loss terms beside the classifier: two against the language in embeddings, and prototypes.

Each maps embeddings [B x D], classes int64 [B] and languages int64 [B] (-1: unknown) to a term of
the loss and to a number to log. The terms compute in float32, also under autocast.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

UNKNOWN_LANGUAGE = -1


class LanguageAdversary(nn.Module):
    """Language classifier of ``hidden`` units behind a reversal of the gradient.

    Ganin, Lempitsky: Unsupervised Domain Adaptation by Backpropagation, ICML 2015. The classifier
    learns at full rate; ``weight`` scales only the reversed gradient. The number to log is its
    accuracy.
    """

    def __init__(self, embed_dim: int, languages: int, hidden: int = 256, weight: float = 0.1):
        super().__init__()
        self.weight = weight
        self.classifier = nn.Sequential(
            nn.Linear(embed_dim, hidden), nn.ReLU(), nn.Linear(hidden, languages)
        )

    def forward(
        self, embeddings: Tensor, labels: Tensor, languages: Tensor
    ) -> tuple[Tensor, Tensor]:
        with torch.autocast(embeddings.device.type, enabled=False):
            direction = F.normalize(embeddings.float()) * embeddings.shape[1] ** 0.5
            weight = self.weight  # that of this step, also if the backward pass comes later
            if direction.requires_grad:
                direction.register_hook(lambda gradient: -weight * gradient)
            logits = self.classifier(direction)
        mask = languages != UNKNOWN_LANGUAGE
        count = mask.sum().clamp(min=1)
        total = F.cross_entropy(logits, languages, ignore_index=UNKNOWN_LANGUAGE, reduction="sum")
        return total / count, ((logits.argmax(dim=1) == languages) & mask).sum() / count


class CrossLanguageContrast(nn.Module):
    """Contrastive loss between a speaker's utterances in different languages.

    Khosla et al.: Supervised Contrastive Learning, NeurIPS 2020, equation 2. The positives of an
    utterance are those of its class in another known language; those of its class in the same
    language are neither positive nor negative. The negatives are ``all`` utterances of other
    classes, or only those in the ``same_language``, which are the most confusable. The loss is the
    mean over the utterances that have a positive; the number to log is the loss without its weight.
    """

    def __init__(
        self,
        temperature: float = 0.1,
        negatives: Literal["all", "same_language"] = "all",
        weight: float = 0.1,
    ):
        super().__init__()
        self.temperature = temperature
        self.negatives = negatives
        self.weight = weight

    def forward(
        self, embeddings: Tensor, labels: Tensor, languages: Tensor
    ) -> tuple[Tensor, Tensor]:
        with torch.autocast(embeddings.device.type, enabled=False):
            wide = torch.promote_types(embeddings.dtype, torch.float32)
            unit = F.normalize(embeddings.to(wide))
            similarity = unit @ unit.T / self.temperature
        speaker = labels[:, None] == labels
        language = languages[:, None] == languages
        mask = languages != UNKNOWN_LANGUAGE
        positive = speaker & ~language & mask[:, None] & mask
        negative = ~speaker
        if self.negatives == "same_language":
            negative &= language
        # A finite stand-in for minus infinity: rows without anything counted get no NaN.
        lowest = torch.finfo(similarity.dtype).min
        counted = similarity.masked_fill(~(positive | negative), lowest)
        total = counted.logsumexp(dim=1, keepdim=True)
        number = positive.sum(dim=1)
        each = ((total - similarity) * positive).sum(dim=1) / number.clamp(min=1)
        loss = each.sum() / (number > 0).sum().clamp(min=1)
        return self.weight * loss, loss.detach()


class Prototypes(nn.Module):
    """Classification of each utterance by the means of the speakers in its batch.

    Snell, Swersky, Zemel: Prototypical Networks for Few-shot Learning, NeurIPS 2017. A class's
    prototype is the mean of its unit embeddings, for its own utterances without the utterance
    itself, as in GE2E (Wan et al., ICASSP 2018). The logits are cosines over ``temperature``, 0.07
    in L-Proto (arXiv 2606.17416), which lets each batch speak one language. The loss is the mean
    over the utterances that have another one of their class; the number to log is the loss without
    its weight. The languages are not used.
    """

    def __init__(self, temperature: float = 0.07, weight: float = 1.0):
        super().__init__()
        self.temperature = temperature
        self.weight = weight

    def forward(
        self, embeddings: Tensor, labels: Tensor, languages: Tensor
    ) -> tuple[Tensor, Tensor]:
        same = labels[:, None] == labels
        others = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        with torch.autocast(embeddings.device.type, enabled=False):
            wide = torch.promote_types(embeddings.dtype, torch.float32)
            unit = F.normalize(embeddings.to(wide))
            prototypes = F.normalize(same.to(wide) @ unit)  # the direction of a mean is its sum's
            own = (unit * F.normalize(others.to(wide) @ unit)).sum(dim=1) / self.temperature
            logits = torch.where(same, own[:, None], unit @ prototypes.T / self.temperature)
        # A class has as many equal columns as utterances: count its first one.
        repeated = same.tril(diagonal=-1).any(dim=1)
        total = logits.masked_fill(repeated, torch.finfo(wide).min).logsumexp(dim=1)
        query = others.any(dim=1)
        loss = ((total - own) * query).sum() / query.sum().clamp(min=1)
        return self.weight * loss, loss.detach()
