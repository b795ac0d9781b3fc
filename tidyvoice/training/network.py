"""What a training computes with: the model, the objective, and a moving average of the weights."""

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tidyvoice.config import Experiment
from tidyvoice.data.batches import TrainingData
from tidyvoice.distributed import World
from tidyvoice.errors import TidyVoiceError
from tidyvoice.models.checkpointing import checkpoint_activations
from tidyvoice.training.objective import Objective, build_objective


class Network(nn.Module):
    """Model and objective as one module, so that one wrapper goes around both.

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
        self._average: list[AveragedModel] = []  # in a list it is no submodule

    def embed(self, features: Tensor) -> Tensor:
        """Embeddings [B x D] of features [B x T x F]."""
        with torch.autocast(features.device.type, torch.bfloat16, enabled=self._bf16):
            return self.model(features)

    def forward(
        self, features: Tensor, labels: Tensor, languages: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What ``Objective`` returns, of features [B x T x F]."""
        return self.objective(self.embed(features), labels, languages)

    def begin_average(self) -> None:
        """Prepare the moving average, which begins with the next step's weights."""
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
        """The model that is evaluated: the moving average if there is one."""
        return self.average.module if self.average else self.model

    def statistics(self) -> list[Tensor]:
        """The running statistics of batch norm, of the model and of its moving average.

        They are not exchanged at every step: each process has those of its own batches.
        """
        models = [self.model, *self._average]
        buffers = [buffer for model in models for buffer in model.buffers()]
        return [buffer for buffer in buffers if buffer.is_floating_point()]

    def sum_of_weights(self) -> Tensor:
        return torch.stack([parameter.detach().sum() for parameter in self.parameters()]).sum()


def build_network(settings: Experiment, data: TrainingData, world: World) -> Network:
    """The network of an experiment, on its device.

    Raises:
        TidyVoiceError: activation checkpointing of a network without blocks, synchronised batch
            norm without CUDA; see also ``build_objective``.
    """
    chosen, device = settings.model, world.device
    model = settings.build_model()
    if chosen.init_scheme != "torch":
        model.initialise()
    if chosen.recompute:
        if not model.blocks():
            raise TidyVoiceError(f"model.recompute: {chosen.name} has no blocks; set it false")
        checkpoint_activations(model.blocks())
    trunk = model.trunk()
    if chosen.sync_batchnorm:
        if device.type != "cuda":
            raise TidyVoiceError(f"model.sync_batchnorm needs CUDA, this is {device}: set it false")
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    # The layout that convolutions take without reordering. With few channels its backward pass on
    # the CPU is several times faster than that of the other layout (benchmarks/training_step.py).
    model.to(memory_format=torch.channels_last)
    if chosen.compile:
        trunk.compile()
    bf16 = settings.precision == "bf16"
    return Network(model, build_objective(settings, data), bf16, chosen.ema_decay).to(device)


def build_optimizer(settings: Experiment, network: Network) -> torch.optim.Optimizer:
    """The optimizer of an experiment, over every parameter."""
    chosen = settings.optimizer
    rate = settings.learning_rate.initial_lr
    if chosen.name == "AdamW":
        # Otherwise it launches several operations for each tensor, which small models feel.
        return torch.optim.AdamW(
            network.parameters(), lr=rate, weight_decay=chosen.weight_decay, fused=True
        )
    return torch.optim.SGD(
        network.parameters(),
        lr=rate,
        momentum=chosen.momentum,
        nesterov=chosen.nesterov,
        weight_decay=chosen.weight_decay,
    )
