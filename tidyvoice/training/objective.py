"""What is minimised: the classifier's loss, and whatever terms the settings add to it."""

import math
from collections.abc import Mapping

from torch import Tensor, nn

from tidyvoice.config import Experiment
from tidyvoice.errors import TidyVoiceError
from tidyvoice.losses import CrossLanguageContrast, LanguageAdversary
from tidyvoice.losses.head import Head

STEEPNESS = 10.0  # of the rise of the language terms' weights, as in Ganin and Lempitsky 2015


class Objective(nn.Module):
    """A loss head, and terms beside it.

    Attributes:
        head: the classifier, and its loss.
        terms: by name; each maps (embeddings, labels, languages) to what is added and what is
            shown, and has a ``weight`` that ``set_share`` scales.
    """

    def __init__(self, head: Head, terms: Mapping[str, nn.Module]):
        super().__init__()
        self.head = head
        self.terms = nn.ModuleDict(terms)
        self._weights = {name: term.weight for name, term in terms.items()}

    def set_share(self, share: float) -> None:
        """Scale the terms' weights by how much of their rise has passed, 0 to 1.

        The factor is 2 / (1 + exp(-10 share)) - 1 until the rise ends, where it is 1.
        """
        factor = 2.0 / (1.0 + math.exp(-STEEPNESS * share)) - 1.0 if share < 1.0 else 1.0
        for name, weight in self._weights.items():
            self.terms[name].weight = factor * weight

    def forward(
        self, embeddings: Tensor, labels: Tensor, languages: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum (a scalar), and what to show: loss and accuracy of the head, and of the terms.

        Args:
            embeddings: [B x D].
            labels: int64 [B].
            languages: int64 [B], -1 where unknown.
        """
        total, accuracy = self.head(embeddings, labels)
        shown = {"loss": total.detach(), "accuracy": accuracy}
        for name, term in self.terms.items():
            added, shown[name] = term(embeddings, labels, languages)
            total = total + added
        return total, shown


def build_objective(settings: Experiment, num_classes: int, num_languages: int) -> Objective:
    """Build the objective of an experiment.

    Raises:
        TidyVoiceError: the settings need languages, and the data has fewer than two.
    """
    dim, chosen = settings.model.embed_dim, settings.languages
    head = settings.loss.build(dim, num_classes)
    if (chosen.adversary or chosen.contrast) and num_languages < 2:
        raise TidyVoiceError(
            f"{num_languages} languages in utt2lang, but the settings of languages need two: add "
            "utt2lang, or set languages.adversary and languages.contrast to 0"
        )
    terms: dict[str, nn.Module] = {}
    if chosen.adversary:
        terms["language_accuracy"] = LanguageAdversary(
            dim, num_languages, chosen.adversary_hidden, chosen.adversary
        )
    if chosen.contrast:
        terms["contrast"] = CrossLanguageContrast(
            chosen.temperature, chosen.negatives, chosen.contrast
        )
    return Objective(head, terms)
