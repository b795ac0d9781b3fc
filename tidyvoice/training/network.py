"""The network of a training: model, objective and moving average; and its optimizer."""

import re
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tidyvoice.config import Experiment
from tidyvoice.data.batches import TrainingData
from tidyvoice.distributed import World
from tidyvoice.errors import TidyVoiceError, summarise
from tidyvoice.models.checkpointing import checkpoint_activations
from tidyvoice.optimizers import Parameters
from tidyvoice.training.objective import Objective, build_objective


class Network(nn.Module):
    """Model and objective as one module, for DistributedDataParallel.

    Attributes:
        model: features [B x T x F] to embeddings [B x D].
        objective: embeddings to the loss.
        average: the moving average of the model; None without one.
    """

    def __init__(self, model: nn.Module, objective: Objective, bf16: bool, ema_decay: float | None):
        super().__init__()
        self.model = model
        self.objective = objective
        self._bf16 = bf16
        self._ema_decay = ema_decay
        self._average: list[AveragedModel] = []  # in a list, so that it is no submodule

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
            average = get_ema_multi_avg_fn(self._ema_decay)
            self._average = [AveragedModel(self.model, multi_avg_fn=average, use_buffers=True)]

    def update_average(self) -> None:
        for average in self._average:
            average.update_parameters(self.model)

    @property
    def average(self) -> AveragedModel | None:
        return self._average[0] if self._average else None

    @property
    def best_model(self) -> nn.Module:
        """The model to evaluate: the moving average if there is one."""
        return self.average.module if self.average else self.model

    def statistics(self) -> list[Tensor]:
        """Return the running statistics of batch norm, of the model and its moving average.

        Each process has those of its own batches; they are averaged before they are used.
        """
        models = [self.model, *self._average]
        buffers = [buffer for model in models for buffer in model.buffers()]
        return [buffer for buffer in buffers if buffer.is_floating_point()]

    def sum_of_weights(self) -> Tensor:
        return torch.stack([parameter.detach().sum() for parameter in self.parameters()]).sum()


def build_network(settings: Experiment, data: TrainingData, world: World) -> Network:
    """Build the network of an experiment on its device.

    Raises:
        TidyVoiceError: activation checkpointing of a network without blocks, synchronised batch
            norm without CUDA; see also ``build_objective``.
    """
    chosen, device = settings.model, world.device
    model = settings.build_model()
    if chosen.init_scheme != "torch":
        model.initialise()
    if chosen.activation_checkpointing:
        if not model.blocks():
            raise TidyVoiceError(
                f"model.activation_checkpointing: {chosen.name} has no blocks; set it false"
            )
        checkpoint_activations(model.blocks())
    trunk = model.trunk()
    if chosen.sync_batchnorm:
        if device.type != "cuda":
            raise TidyVoiceError(f"model.sync_batchnorm needs CUDA, this is {device}: set it false")
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    # Convolutions take this layout without reordering. With few channels its backward pass on the
    # CPU is several times faster than that of the other layout (benchmarks/training_step.py).
    model.to(memory_format=torch.channels_last)
    if chosen.compile:
        trunk.compile()
    bf16 = settings.precision == "bf16"
    try:
        objective = build_objective(settings, data.num_classes, len(data.languages))
    except TidyVoiceError as error:
        raise TidyVoiceError(f"{', '.join(map(str, settings.data.train))}: {error}") from None
    return Network(model, objective, bf16, chosen.ema_decay).to(device)


def parameter_groups(settings: Experiment, network: Network) -> Parameters:
    """Return the parameters of a network in groups; freeze those of frozen groups.

    The key ``lr_factor`` of a group multiplies the learning rate.

    Raises:
        TidyVoiceError: the pattern of a group fits no parameter, or all parameters are frozen.
    """
    chosen = settings.optimizer.groups
    groups: Parameters = [{"params": [], "lr_factor": group.lr_factor} for group in chosen]
    others: dict[str, Any] = {"params": [], "lr_factor": 1.0}
    for name, parameter in network.named_parameters():
        place = next((i for i, group in enumerate(chosen) if re.search(group.pattern, name)), None)
        (others if place is None else groups[place])["params"].append(parameter)
    for group, options in zip(groups, chosen, strict=True):
        if not group["params"]:
            names = summarise([name for name, _ in network.named_parameters()], 5)
            raise TidyVoiceError(
                f"optimizer.groups: no parameter is left for the pattern {options.pattern!r}: "
                f"take one that fits their names ({names})"
            )
        if options.weight_decay is not None:
            group["weight_decay"] = options.weight_decay
        for parameter in group["params"]:
            parameter.requires_grad_(not options.frozen)
    trained = [group for group, options in zip(groups, chosen, strict=True) if not options.frozen]
    trained = [others, *trained] if others["params"] else trained
    if not trained:
        raise TidyVoiceError("optimizer.groups: all parameters are frozen: leave some to train")
    return trained


def build_optimizer(settings: Experiment, network: Network) -> torch.optim.Optimizer:
    """Build the optimizer of an experiment; see ``parameter_groups``."""
    return settings.optimizer.build(parameter_groups(settings, network))
