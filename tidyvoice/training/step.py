"""One step of a training: from raw batches to features, gradients and new weights.

On a GPU the host only launches: nothing here waits for a result.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tidyvoice.config import Experiment
from tidyvoice.data.augment import Augmenter
from tidyvoice.data.batches import RawBatch
from tidyvoice.distributed import World
from tidyvoice.frontends import frontend_of
from tidyvoice.training.network import Network, parameter_groups


class StepResult(NamedTuple):
    """Numbers to log by name, the losses of all processes and of this one, and rows of the data."""

    shown: dict[str, Tensor]
    losses: Tensor  # [2]
    rows: Tensor  # int64 [B], on the host


class TrainingStep:
    """The front end, the augmentations and the optimizer of a network in one process."""

    def __init__(self, settings: Experiment, network: Network, chunk_samples: int, world: World):
        self.settings = settings
        self.network = network
        self.world = world
        self.augment = Augmenter(settings.data.speeds, chunk_samples).to(world.device)
        self.augmentations = [chosen.build() for chosen in settings.data.augmentations]
        self.frontend = frontend_of(network.model, settings.frontend).to(world.device)
        self.optimizer = settings.optimizer.build(parameter_groups(settings, network))

    def __call__(
        self, network: nn.Module, batches: Iterator[RawBatch], learning_rate: float
    ) -> StepResult:
        """Do one step with the next batches; ``network`` is ours, or ours in parallel."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate * group["lr_factor"]
        self.optimizer.zero_grad()
        count, parts, rows = self.settings.gradient_accumulation, [], []
        for number in range(count):
            raw = next(batches).to(self.world.device)
            rows.append(raw.rows)
            # The processes exchange gradients once a step, after the last batch.
            between = number + 1 < count and network is not self.network
            with network.no_sync() if between else nullcontext():
                total, shown = network(self.features(raw), raw.labels, raw.languages)
                (total / count).backward()
            parts.append(shown)
        if self.settings.clip_gradient:
            parameters = self.network.model.parameters()
            torch.nn.utils.clip_grad_norm_(parameters, self.settings.clip_gradient)
        self.optimizer.step()
        for average in self.network.averages.values():
            average.update_parameters(self.network.model)
        names = list(parts[0])
        stacked = torch.stack([torch.stack([part[name] for name in names]) for part in parts])
        local_mean = stacked.mean(0)
        shown = dict(zip(names, self.world.mean(local_mean), strict=True))
        losses = torch.stack([shown["loss"], local_mean[names.index("loss")]])
        return StepResult(shown, losses, torch.cat(rows))

    def features(self, raw: RawBatch) -> Tensor:
        """Return the augmented features [B x T x F] of a batch, on the device."""
        waveforms = self._augmented(self.augment(raw), raw, "waveform")
        features = self.frontend(waveforms, raw.dither_seeds)
        return self._augmented(features, raw, "features")

    def _augmented(self, values: Tensor, raw: RawBatch, domain: str) -> Tensor:
        # A clean batch (for the speakers' means) holds no numbers for the augmentations.
        for augmentation, drawn in zip(self.augmentations, raw.drawn, strict=False):
            if augmentation.domain == domain:
                values = augmentation(values, drawn)
        return values
