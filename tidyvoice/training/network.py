"""The network of a training (model, objective and moving average) and its optimizer."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from tidyvoice.config import Experiment
from tidyvoice.errors import TidyVoiceError, summarise
from tidyvoice.losses import Head
from tidyvoice.losses.languages import CrossLanguageContrast, LanguageAdversary, Prototypes
from tidyvoice.models.checkpointing import checkpoint_activations
from tidyvoice.optimizers import Parameters

STEEPNESS = 10.0  # of the warm-up of the terms' weights, as in Ganin and Lempitsky 2015


class Objective(nn.Module):
    """The sum of a loss head and further terms (see ``losses.languages``) by name."""

    def __init__(self, head: Head, terms: Mapping[str, nn.Module]):
        super().__init__()
        self.head = head
        self.terms = nn.ModuleDict(terms)
        self._weights = {name: term.weight for name, term in terms.items()}

    def warm_up(self, share: float) -> None:
        """Scale the terms' weights, given the share of the warm-up that has passed."""
        factor = 2.0 / (1.0 + math.exp(-STEEPNESS * share)) - 1.0 if share < 1.0 else 1.0
        for name, weight in self._weights.items():
            self.terms[name].weight = factor * weight

    def forward(
        self, embeddings: Tensor, labels: Tensor, languages: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss (a scalar) of embeddings [B x D], and the numbers to log by name."""
        total, accuracy = self.head(embeddings, labels)
        shown = {"loss": total.detach(), "accuracy": accuracy}
        for name, term in self.terms.items():
            added, shown[name] = term(embeddings, labels, languages)
            total = total + added
        return total, shown


class MovingAverage(AveragedModel):
    """Exponential moving average of the weights and buffers of a model.

    torch's own update makes the host wait for a GPU, and starts a kernel for each counter.
    """

    def __init__(self, model: nn.Module, decay: float):
        super().__init__(model)
        self._decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        average = [*self.module.parameters(), *self.module.buffers()]
        pairs = list(zip(average, [*model.parameters(), *model.buffers()], strict=True))
        real = [pair for pair in pairs if pair[0].is_floating_point()]
        counters = [pair for pair in pairs if not pair[0].is_floating_point()]
        if self.n_averaged:  # on the host
            torch._foreach_lerp_(*map(list, zip(*real, strict=True)), 1 - self._decay)
        else:
            counters = pairs
        if counters:
            torch._foreach_copy_(*map(list, zip(*counters, strict=True)))
        self.n_averaged += 1


class Network(nn.Module):
    """Model and objective as one module, for DistributedDataParallel."""

    def __init__(self, model: nn.Module, objective: Objective, bf16: bool, ema_decay: float | None):
        super().__init__()
        self.model = model
        self.objective = objective
        self._bf16 = bf16
        self._ema_decay = ema_decay
        self.averages: dict[str, MovingAverage] = {}  # in a dictionary, so it is no submodule

    def embed(self, features: Tensor) -> Tensor:
        """Return the embeddings [B x D] of features [B x T x F]."""
        with torch.autocast(features.device.type, torch.bfloat16, enabled=self._bf16):
            return self.model(features)

    def forward(
        self, features: Tensor, labels: Tensor, languages: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the objective of features [B x T x F], see ``Objective``."""
        return self.objective(self.embed(features), labels, languages)

    def train(self, mode: bool = True) -> "Network":
        """Set the mode of all modules but the frozen ones, which stay in evaluation mode."""
        super().train(mode)
        for module in self.modules():
            parameters = list(module.parameters())
            if parameters and not any(parameter.requires_grad for parameter in parameters):
                module.eval()
        return self

    def begin_average(self) -> None:
        """Prepare the moving average, which starts with the weights of the next step."""
        if self._ema_decay is not None:
            self.averages["average"] = MovingAverage(self.model, self._ema_decay)

    @property
    def best_model(self) -> nn.Module:
        """The model to evaluate: the moving average if there is one."""
        return self.averages["average"].module if self.averages else self.model

    def statistics(self) -> list[Tensor]:
        """Return batch norm's running statistics: each process has those of its own batches."""
        models = [self.model, *self.averages.values()]
        buffers = [buffer for model in models for buffer in model.buffers()]
        return [buffer for buffer in buffers if buffer.is_floating_point()]


def build_network(
    settings: Experiment,
    num_classes: int,
    num_languages: int,
    device: torch.device,
    compiled: bool = False,
    channels_last: bool = True,
) -> Network:
    """Build the network of an experiment on a device."""
    chosen = settings.model
    model = settings.build_model()
    if chosen.init_scheme != "torch":
        model.initialise()
    if chosen.activation_checkpointing:
        if not model.blocks():
            raise TidyVoiceError(f"model.activation_checkpointing: set it false for {chosen.name}")
        checkpoint_activations(model.blocks())
    trunk = model.trunk()
    # cuDNN's convolutions take this layout without reordering. On a CPU neither layout is always
    # faster (benchmarks/training_options.py).
    if channels_last:
        model.to(memory_format=torch.channels_last)
    if compiled:
        trunk.compile()
    try:
        objective = build_objective(settings, num_classes, num_languages)
    except TidyVoiceError as error:
        raise TidyVoiceError(f"{', '.join(map(str, settings.data.train))}: {error}") from None
    return Network(model, objective, settings.precision == "bf16", chosen.ema_decay).to(device)


def build_objective(settings: Experiment, num_classes: int, num_languages: int) -> Objective:
    """Build the objective of an experiment."""
    dim, chosen = settings.model.embed_dim, settings.languages
    if (chosen.adversary or chosen.contrast) and num_languages < 2:
        fix = "add it, or set languages.adversary and languages.contrast to 0"
        raise TidyVoiceError(f"{num_languages} languages in utt2lang, two are needed: {fix}")
    head = settings.loss.build(dim, num_classes)
    terms: dict[str, nn.Module] = {}
    if chosen.adversary:
        sizes = dim, num_languages, chosen.adversary_hidden
        terms["language_accuracy"] = LanguageAdversary(*sizes, chosen.adversary)
    if chosen.contrast:
        options = chosen.temperature, chosen.negatives, chosen.contrast
        terms["contrast"] = CrossLanguageContrast(*options)
    if chosen.prototypes:
        terms["prototypes"] = Prototypes(chosen.prototypes_temperature, chosen.prototypes)
    return Objective(head, terms)


def parameter_groups(settings: Experiment, network: Network) -> Parameters:
    """Return the parameters in groups that have an ``lr_factor``; freeze those of frozen groups."""
    others = dict(network.named_parameters())
    groups: Parameters = []
    for options in settings.optimizer.groups:
        fitting = [name for name in others if options.pattern.search(name)]
        if not fitting:
            names = summarise([name for name, _ in network.named_parameters()], 5)
            problem = f"no parameter is left for {options.pattern.pattern!r}"
            raise TidyVoiceError(f"optimizer.groups: {problem}: match one of {names}")
        parameters = [others.pop(name).requires_grad_(not options.frozen) for name in fitting]
        if not options.frozen:
            groups.append({"params": parameters, "lr_factor": options.lr_factor})
            if options.weight_decay is not None:
                groups[-1]["weight_decay"] = options.weight_decay
    if others:
        groups.insert(0, {"params": list(others.values()), "lr_factor": 1.0})
    if not groups:
        raise TidyVoiceError("optimizer.groups: all parameters are frozen: leave some to train")
    return groups
