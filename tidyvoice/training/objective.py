"""The training objective: the classifier's loss and further terms."""

import math
from collections.abc import Mapping

from torch import Tensor, nn

from tidyvoice.config import Experiment
from tidyvoice.errors import TidyVoiceError
from tidyvoice.losses import CrossLanguageContrast, LanguageAdversary
from tidyvoice.losses.head import Head

STEEPNESS = 10.0  # of the warm-up of the terms' weights, as in Ganin and Lempitsky 2015


class Objective(nn.Module):
    """The sum of a loss head and further terms.

    Attributes:
        head: the classifier and its loss.
        terms: by name; each maps (embeddings, labels, languages) to a loss and a number to log, and
            has a ``weight`` that ``warm_up`` scales.
    """

    def __init__(self, head: Head, terms: Mapping[str, nn.Module]):
        super().__init__()
        self.head = head
        self.terms = nn.ModuleDict(terms)
        self._weights = {name: term.weight for name, term in terms.items()}

    def warm_up(self, share: float) -> None:
        """Scale the terms' weights, given the share of the warm-up that has passed.

        The factor is 2 / (1 + exp(-10 share)) - 1 during the warm-up, then 1.
        """
        factor = 2.0 / (1.0 + math.exp(-STEEPNESS * share)) - 1.0 if share < 1.0 else 1.0
        for name, weight in self._weights.items():
            self.terms[name].weight = factor * weight

    def forward(
        self, embeddings: Tensor, labels: Tensor, languages: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the sum (a scalar), and the numbers to log by name.

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
