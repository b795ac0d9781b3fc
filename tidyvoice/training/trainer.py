"""The training of a speaker embedding model: set up, train, save, go on after an interruption.

Features: chunks of indexed shards, speed perturbation as new classes, noise and reverberation and
filterbank batched on the device; margin and learning rate by iteration; checkpoints that hold
everything. Random choices are functions of (seed, pass over the data, utterance): a run that was
killed ends with the same weights as one that was not (bit for bit on the CPU).

Limits: one process.
"""

import json
import os
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tidyvoice.config import Experiment, load_experiment
from tidyvoice.data.augment import Augmenter
from tidyvoice.data.batches import RawBatch, TrainingData, load_batches
from tidyvoice.device import choose_device
from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import only_writer, sha256
from tidyvoice.frontend import Frontend
from tidyvoice.hub import load_weights, save_torch, weight_file
from tidyvoice.losses import ArcMargin
from tidyvoice.models import build_model
from tidyvoice.settings import differences, read_yaml
from tidyvoice.training.checkpoint import (
    BETWEEN_EPOCHS,
    epoch_checkpoint,
    newest_checkpoint,
    remove_old_checkpoints,
)
from tidyvoice.training.head import ClassMeans
from tidyvoice.training.schedules import ExponentialDecrease, MarginSchedule
from tidyvoice.training.tracking import Tracker
from tidyvoice.wespeaker import frontend_settings, section

# What may change when an interrupted run goes on, because nothing but rounding depends on it.
FREE_SETTINGS = {
    "checkpoint_iterations", "data.readers", "device", "experiment", "keep_checkpoints",
    "log_iterations",
}  # fmt: skip


class Trainer:
    """One experiment.

    Raises:
        TidyVoiceError: data, model to start from, or device are not as the settings say; the
            experiment folder belongs to other settings or other data; a loss is not finite.
    """

    def __init__(self, settings: Experiment):
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise TidyVoiceError("training runs in one process: start it without torchrun")
        self.settings = settings
        self.folder = settings.experiment
        self.device = choose_device(settings.device)
        torch.manual_seed(settings.seed)

        chunk_samples = settings.frontend.num_samples(settings.data.chunk_frames)
        self.data = TrainingData(settings.data, chunk_samples, settings.seed)
        self.augment = Augmenter(settings.data.speeds, chunk_samples).to(self.device)
        self.frontend = Frontend(settings.frontend).to(self.device)
        self.model = build_model(
            settings.model.name,
            settings.model.in_planes,
            settings.model.embed_dim,
            settings.frontend.num_mel_bins,
        ).to(self.device)
        if self.device.type == "cuda":
            self.model.to(memory_format=torch.channels_last)
        self.loss = ArcMargin(
            settings.model.embed_dim,
            self.data.num_classes,
            scale=settings.loss.scale,
            easy_margin=settings.loss.easy_margin,
        ).to(self.device)
        self.optimizer = self._optimizer()
        self.inputs = self._inputs()

        self.epoch_iterations = settings.epoch_iterations or self.data.batches_per_pass
        self.total = settings.epochs * self.epoch_iterations
        self.margin = MarginSchedule(self.epoch_iterations, **settings.margin.model_dump())
        self.learning_rate = ExponentialDecrease(
            self.epoch_iterations, max(settings.epochs, 1), **settings.learning_rate.model_dump()
        )
        self.iteration = 0

    def run(self) -> None:
        """Train to the end, from the newest checkpoint if there is one."""
        with only_writer(self.folder):
            self._run()

    def _run(self) -> None:
        state = newest_checkpoint(self.folder)
        if state:
            self._restore(state)
        with Tracker(
            self.folder, self.total, self.iteration, self.settings.log_iterations
        ) as tracker:
            if state and self.iteration == self.total:
                tracker.say(f"finished already, at step {self.total}")
            elif state:
                tracker.say(f"going on at step {self.iteration} of {self.total}")
            else:
                self._begin(tracker)
            self._train(tracker)

    def _train(self, tracker: Tracker) -> None:
        self.model.train()
        self.frontend.train()
        pinned = self.device.type == "cuda"
        unchecked: tuple[Tensor, Tensor] | None = None
        with closing(load_batches(self.data, self.iteration, self.total, pin=pinned)) as batches:
            for raw in tracker.waiting(batches):
                loss, accuracy = self._step(raw.to(self.device))
                # The loss of the step before: this one's is still being computed on a GPU.
                if unchecked:
                    self._check_finite(*unchecked)
                unchecked = (loss, raw.rows)
                self.iteration += 1
                tracker.step(
                    self.iteration,
                    (self.iteration - 1) // self.epoch_iterations + 1,
                    loss,
                    accuracy,
                    self.loss.margin,
                    self.optimizer.param_groups[0]["lr"],
                    len(raw.rows),
                )
                if self._is_checkpoint():
                    self._check_finite(*unchecked)
                    # This step may have spoilt the weights, which only the next loss would show.
                    self._check_finite(self._sum_of_weights(), raw.rows)
                    self._save()

    def _step(self, raw: RawBatch) -> tuple[Tensor, Tensor]:
        self.loss.margin = self.margin.at(self.iteration)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate.at(self.iteration)
        loss, accuracy = self.loss(self._embed(raw), raw.labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach(), accuracy

    def _embed(self, raw: RawBatch) -> Tensor:
        with torch.no_grad():
            features = self.frontend(self.augment(raw), raw.dither_seeds)
        bf16 = self.settings.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            return self.model(features)

    def _check_finite(self, value: Tensor, rows: Tensor) -> None:
        if not torch.isfinite(value):
            raise TidyVoiceError(
                f"the loss or the gradient is not finite ({float(value)}) around step "
                f"{self.iteration}: begin another experiment with a lower learning_rate, or look "
                f"at this batch's utterances: {' '.join(self.data.utterance_ids(rows))}"
            )

    def _sum_of_weights(self) -> Tensor:
        parameters = [*self.model.parameters(), *self.loss.parameters()]
        return torch.stack([parameter.detach().sum() for parameter in parameters]).sum()

    def _optimizer(self) -> torch.optim.Optimizer:
        chosen = self.settings.optimizer
        parameters = [*self.model.parameters(), *self.loss.parameters()]
        rate = self.settings.learning_rate.initial_lr
        if chosen.name == "AdamW":
            return torch.optim.AdamW(parameters, lr=rate, weight_decay=chosen.weight_decay)
        return torch.optim.SGD(
            parameters,
            lr=rate,
            momentum=chosen.momentum,
            nesterov=chosen.nesterov,
            weight_decay=chosen.weight_decay,
        )

    def _begin(self, tracker: Tracker) -> None:
        """Say what is about to run, load what it starts from, keep the settings."""
        settings, data = self.settings, self.data
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        tracker.say(
            f"{settings.model.name}, {parameters:,} parameters, on {self.device}; "
            f"{data.num_utterances:,} of {len(data.reader):,} utterances are long enough; "
            f"{len(data.speakers):,} speakers at {len(settings.data.speeds)} speeds make "
            f"{data.num_classes:,} classes"
        )
        tracker.say(
            f"{settings.epochs} epochs of {self.epoch_iterations} steps of "
            f"{settings.data.batch_size} chunks of {settings.data.chunk_frames} frames"
        )
        if settings.model.init:
            source = weight_file(settings.model.init)
            self._refuse_other_frontend(source.parent / "config.yaml")
            load_weights(self.model, source)
            tracker.say(
                f"the model starts from {source}; the loss head is new, because its "
                f"{data.num_classes:,} classes are this data's speakers"
            )
        if settings.loss.init == "speaker_means":
            self._start_from_speaker_means(tracker)
        settings.save(self.folder / "config.yaml")
        self._save()

    def _refuse_other_frontend(self, config: Path) -> None:
        """A model takes the features that it was trained on; a lone .pt file does not say which."""
        if not config.exists():
            return
        theirs = frontend_settings(section(read_yaml(config), "dataset_args", config), config)
        changed = differences(theirs.model_dump(), self.settings.frontend.model_dump())
        changed.pop("dither", None)
        if changed:
            listed = "; ".join(f"{key} {old}, here {new}" for key, (old, new) in changed.items())
            raise TidyVoiceError(f"{config}: another frontend ({listed}): set frontend accordingly")

    def _start_from_speaker_means(self, tracker: Tracker) -> None:
        """From one chunk of (nearly) every utterance, without noise, reverberation or dither."""
        clean = self.settings.data.model_copy(update={"augment_probability": 0.0})
        data = TrainingData(clean, self.data.chunk_samples, self.settings.seed)
        means = ClassMeans(data.num_classes, self.settings.model.embed_dim, self.device)
        self.model.eval()
        self.frontend.eval()
        with torch.no_grad(), closing(load_batches(data, 0, data.batches_per_pass)) as batches:
            for raw in batches:
                on_device = raw.to(self.device)
                means.add(self._embed(on_device), on_device.labels)
        seen = means.fill(self.loss.weight)
        tracker.say(
            f"{seen:,} of {data.num_classes:,} classes start at their speaker's mean embedding"
        )

    def _is_checkpoint(self) -> bool:
        between = self.settings.checkpoint_iterations
        at_epoch_end = self.iteration % self.epoch_iterations == 0
        return at_epoch_end or bool(between and self.iteration % between == 0)

    def _save(self) -> None:
        epoch, rest = divmod(self.iteration, self.epoch_iterations)
        between = self.folder / "models" / BETWEEN_EPOCHS
        save_torch(between if rest else epoch_checkpoint(self.folder, epoch), self._state())
        if not rest:
            between.unlink(missing_ok=True)
            remove_old_checkpoints(self.folder, self.settings.keep_checkpoints)

    def _state(self) -> dict[str, Any]:
        random = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            random["cuda"] = torch.cuda.get_rng_state(self.device)
        return {
            "iteration": self.iteration,
            "model": self.model.state_dict(),
            "loss": self.loss.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedules": {
                "margin": asdict(self.margin),
                "learning_rate": asdict(self.learning_rate),
            },
            "random": random,
            "inputs": self.inputs,
            "speakers": self.data.speakers,
            "frontend": self.settings.frontend.model_dump(),
            "settings": self.settings.model_dump_json(),
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self._refuse_other_settings(json.loads(state["settings"]))
        changed = differences(state["inputs"], self.inputs)
        if changed:
            raise TidyVoiceError(
                f"{self.folder} was begun with other {', '.join(changed)} than "
                f"{', '.join(map(str, self.settings.data.train))} and model.init hold now: take "
                "another experiment folder, or remove this one"
            )
        self.model.load_state_dict(state["model"])
        self.loss.load_state_dict(state["loss"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"]["cpu"])
        if self.device.type == "cuda" and "cuda" in state["random"]:
            torch.cuda.set_rng_state(state["random"]["cuda"], self.device)
        self.iteration = state["iteration"]

    def _inputs(self) -> dict[str, str]:
        """Checksums of what the training reads."""
        stores = {"data": self.data.reader, "noise": self.data.noise, "rirs": self.data.rirs}
        found = {name: store.content for name, store in stores.items() if store}
        if self.settings.model.init:
            found["initial weights"] = sha256(weight_file(self.settings.model.init))
        return found

    def _refuse_other_settings(self, before: dict[str, Any]) -> None:
        now = self.settings.model_dump(mode="json")
        changed = [
            f"{key} was {old}, is {new}"
            for key, (old, new) in differences(before, now).items()
            if key not in FREE_SETTINGS
        ]
        if changed:
            raise TidyVoiceError(
                f"{self.folder} was begun with other settings ({'; '.join(changed)}): take "
                "another experiment folder, or remove this one"
            )


def train(config: str | Path, overrides: tuple[str, ...] = ()) -> Path:
    """Train the experiment of a YAML file; the experiment's folder."""
    settings = load_experiment(config, overrides)
    Trainer(settings).run()
    return settings.experiment
