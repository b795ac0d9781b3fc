"""The training loop, on one process or many, from the newest checkpoint if there is one.

Random choices are functions of (seed, pass over the data, utterance): a run that was killed and
resumed ends with the same weights as one that was not (bit for bit on the CPU).

With R processes (torchrun), batches of B utterances and A batches accumulated, a step takes the
next R A B utterances of an order that all processes share; each process takes every R-th batch.
"""

import math
from collections.abc import Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tidyvoice.config import Experiment, SamplerSettings, load_experiment
from tidyvoice.data.batches import RawBatch, TrainingData, load_batches
from tidyvoice.distributed import World, choose_device, join_world
from tidyvoice.errors import TidyVoiceError, reading
from tidyvoice.files import only_writer, source_hash
from tidyvoice.modelhub.folder import save_torch
from tidyvoice.modelhub.tensors import FORMAT
from tidyvoice.record import record_run
from tidyvoice.training import checkpoint, start
from tidyvoice.training.measurement import Combination
from tidyvoice.training.network import build_network
from tidyvoice.training.step import StepResult, TrainingStep
from tidyvoice.training.tracking import Tracker
from tidyvoice.training.tuning import default_combination, tune
from tidyvoice.training.validation import Validation, best_epoch


class Trainer:
    """One experiment, in one of its processes; this is the only one if ``world`` is None."""

    def __init__(self, settings: Experiment, world: World | None = None):
        self.settings = settings
        self.world = world = world or World(0, 1, choose_device(settings.device))
        self.folder = settings.experiment
        checkpoint.check_folder(settings)
        chunk_samples = settings.frontend.outline().num_samples(settings.data.chunk_frames)
        self.data = data = TrainingData(settings.data, chunk_samples, settings.seed)
        for store in (data.reader, data.noise, data.rirs):
            if store:
                store.check_sample()
        self._build(default_combination(settings))
        self.inputs = start.checksums(settings, data)
        self.source = source_hash()  # at the start: the code may be edited during the training
        self.validation = Validation(settings, world) if settings.validation else None

        self.step_batches = settings.gradient_accumulation * world.size
        self.step_chunks = self.step_batches * settings.data.batch_size
        whole_pass = data.batches_per_pass // self.step_batches
        self.epoch_iterations = settings.epoch_iterations or whole_pass
        if not self.epoch_iterations:
            few = f"{data.num_utterances} utterances are fewer than a step's {self.step_chunks}"
            fix = "reduce data.batch_size, gradient_accumulation or the number of processes"
            raise TidyVoiceError(f"{few}: {fix}")
        self.total = settings.epochs * self.epoch_iterations
        length = self.epoch_iterations, max(settings.epochs, 1)
        self.margin = settings.margin.build(*length)
        self.learning_rate = settings.learning_rate.build(*length)
        self.language_warmup = settings.languages.warmup_epochs * self.epoch_iterations
        self.iteration = 0
        self._unchecked: list[tuple[Tensor, Tensor]] = []

    def _build(self, combination: Combination) -> None:
        """Build the network and its optimizer, always from the same random numbers."""
        torch.manual_seed(self.settings.seed)
        self._combination = combination
        sizes = self.data.num_classes, len(self.data.languages)
        layout = combination.compile, combination.channels_last
        self.network = build_network(self.settings, *sizes, self.world.device, *layout)
        self.objective = self.network.objective
        self.step = TrainingStep(self.settings, self.network, self.data.chunk_samples, self.world)

    def run(self) -> None:
        """Train to the end, from the newest checkpoint if there is one."""
        with only_writer(self.folder) if self.world.is_first else nullcontext():
            newest = checkpoint.newest(self.folder)
            if newest:
                checkpoint.refuse_other(newest[1], self.settings, self.inputs, self.step_chunks)
                self.iteration = newest[1]["iteration"]
            reached = self.world.gather(self.iteration)
            if len(set(reached)) > 1:
                problem = "the machines hold different checkpoints"
                raise TidyVoiceError(f"{self.folder}: {problem}: use a shared disk")
            steps = self.total, self.iteration, self.settings.log_iterations
            quiet = not self.world.is_first
            with closing(Tracker(self.folder, *steps, self.step_chunks, quiet)) as tracker:
                left = self.total - self.iteration
                combination = tune(self.settings, self.data, self.world, left, tracker.say)
                if combination != self._combination:
                    self._build(combination)
                if newest:
                    self._restore(*newest, tracker)
                else:
                    self._begin(tracker)
                if self.world.is_first:
                    self.settings.save(self.folder / "config.yaml")
                    if self.iteration < self.total:
                        seed = self.settings.seed
                        for line in record_run(self.folder, self.inputs, seed, self.total):
                            tracker.say(f"changed since the first run: {line}")
                self._train(tracker)

    def _restore(self, path: Path, state: dict[str, Any], tracker: Tracker) -> None:
        with reading(path, "checkpoint of this training", checkpoint.REMOVE):
            checkpoint.restore(state, self.network, self.step.optimizer, self.world.device)
        if self.iteration == self.total:
            tracker.say(f"already finished, at step {self.total}")
            return
        tracker.say(f"resuming at step {self.iteration} of {self.total}")
        if state["source"] != self.source:
            tracker.say(
                f"warning: another version of the code wrote {path}; the result may differ from "
                "that of an uninterrupted training"
            )

    def _begin(self, tracker: Tracker) -> None:
        """Describe the training and load its initial weights."""
        settings, head = self.settings, self.objective.head
        self._describe(tracker)
        if settings.model.init:
            tracker.say(*start.from_model(self.network.model, settings))
        total = f"{self.data.num_classes:,} classes"
        if settings.loss.init == "checkpoint":
            kept = start.from_head(head, settings, self.data.speakers)
            tracker.say(f"{kept:,} of {total} start from {start.head_file(settings)}")
        elif settings.model.init:
            tracker.say(f"the loss head is new: its {total} are this data's speakers")
        if settings.loss.init == "speaker_means":
            head.margin = self.margin.at(0)
            with closing(self._embedded()) as batches:
                seen = start.from_means(head, batches, self.world)
            tracker.say(f"{seen:,} of {total} start at their speaker's mean embedding")
        self.network.begin_average()
        self._validate(tracker)
        self._save()

    def _describe(self, tracker: Tracker) -> None:
        settings, data, size = self.settings, self.data, self.world.size
        parameters = sum(parameter.numel() for parameter in self.network.model.parameters())
        share = self.epoch_iterations * self.step_chunks / data.num_utterances
        shape = f"{settings.data.batch_size} chunks of {settings.data.chunk_frames} frames"
        if self.step_batches > 1:
            shape = f"{size} processes x {settings.gradient_accumulation} batches of {shape}"
        tracker.say(
            f"{settings.model.name}, {parameters:,} parameters, on {self.world.device}; "
            f"{data.num_utterances:,} of {len(data.reader):,} utterances are long enough; "
            f"{len(data.speakers):,} speakers at {len(settings.data.speeds)} speeds make "
            f"{data.num_classes:,} classes",
            f"{settings.epochs} epochs of {self.epoch_iterations} steps of {shape}; an epoch is "
            f"{share:.4g} passes over the data",
            *filter(None, [data.sampling]),
        )
        if settings.reference_batch_size not in (None, self.step_chunks):
            tracker.say(
                f"warning: a step takes {self.step_chunks} chunks, but the learning rate was tuned "
                f"for {settings.reference_batch_size} (reference_batch_size): change one of them"
            )

    def _embedded(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield embeddings and classes of one clean chunk of (nearly) each utterance of a share."""
        clean = {"augment_probability": 0.0, "augmentations": (), "sampler": SamplerSettings()}
        settings = self.settings.data.model_copy(update=clean)
        data = TrainingData(settings, self.data.chunk_samples, self.settings.seed)
        self.network.eval()
        self.step.frontend.eval()
        share = range(self.world.rank, data.batches_per_pass, self.world.size)
        with closing(load_batches(data, share)) as batches:
            for raw in batches:
                on_device = raw.to(self.world.device)
                yield self.network.embed(self.step.features(on_device)), on_device.labels

    def _train(self, tracker: Tracker) -> None:
        self.network.train()
        self.step.frontend.train()
        network = self.network
        if self.world.size > 1:
            devices = [self.world.device] if self.world.device.type == "cuda" else None
            # The buffers are averaged at checkpoints only, see Network.statistics.
            network = DistributedDataParallel(
                network, devices, forward_sync_buffers=False, gradient_as_bucket_view=True
            )
        first, end = self.iteration * self.step_batches, self.total * self.step_batches
        indexes = range(first + self.world.rank, end, self.world.size)
        between = self.settings.checkpoint_iterations or self.epoch_iterations
        pin = self.world.device.type == "cuda"
        with closing(load_batches(self.data, indexes, pin)) as batches:
            waited = tracker.waiting(batches)
            while self.iteration < self.total:
                result = self._step(network, waited)
                self._unchecked.append((result.losses, result.rows))
                self.iteration += 1
                if self.iteration % self.settings.log_iterations == 0:
                    self._check_finite()  # not at every step, for which a GPU would have to wait
                margin, rate = self.objective.head.margin, self.learning_rate.at(self.iteration - 1)
                epoch = (self.iteration - 1) // self.epoch_iterations + 1
                tracker.step(self.iteration, epoch, result.shown, margin, rate)
                if 0 in (self.iteration % self.epoch_iterations, self.iteration % between):
                    # Otherwise only the next loss would show that this step spoilt the weights.
                    weights = torch.stack([p.detach().sum() for p in self.network.parameters()])
                    sums = torch.stack([self.world.mean(weights.sum()), weights.sum()])
                    self._unchecked.append((sums, result.rows))
                    self._check_finite()
                    with tracker.apart():
                        for value in self.network.statistics():
                            value.copy_(self.world.mean(value))
                        self._validate(tracker)
                        self._save()

    def _step(self, network: nn.Module, batches: Iterator[RawBatch]) -> StepResult:
        """Do the next step with the margin, loss weights and learning rate of this iteration."""
        self.objective.head.margin = self.margin.at(self.iteration)
        warmup = self.language_warmup
        self.objective.warm_up(self.iteration / warmup if warmup else 1.0)
        # Not in a validation: its lengths differ, and cuDNN would try all algorithms for each.
        with self._combination.applied():
            return self.step(network, batches, self.learning_rate.at(self.iteration))

    def _check_finite(self) -> None:
        """Raise an error unless the numbers of all processes, and of this one, are finite."""
        for values, rows in self._unchecked:
            mean, local_value = values.tolist()
            if not math.isfinite(mean):
                cause = "see the error of the other rank"
                if not math.isfinite(local_value):
                    ids = self.data.reader.keys.gather(rows.tolist())
                    cause = f"check the utterances {' '.join(ids)}"
                problem = f"the loss or the weights are not finite ({mean}) around step"
                fix = f"start again with a lower learning rate, or {cause}"
                raise TidyVoiceError(f"{problem} {self.iteration}: {fix}")
        self._unchecked.clear()

    def _validate(self, tracker: Tracker) -> None:
        epoch, rest = divmod(self.iteration, self.epoch_iterations)
        every = self.settings.validation.every_epochs if self.validation else 0
        if every and not rest and (epoch % every == 0 or epoch == self.settings.epochs):
            eer = self.validation.measure(self.network.best_model)
            tracker.say(*self.validation.judge(epoch, eer))
            tracker.validation(self.iteration, eer)
            self.network.train()

    def _save(self) -> None:
        if not self.world.is_first:
            return
        epoch, rest = divmod(self.iteration, self.epoch_iterations)
        models = self.folder / "models"
        state = {
            "format": FORMAT,
            "iteration": self.iteration,
            "epoch_iterations": self.epoch_iterations,
            "step_chunks": self.step_chunks,
            **checkpoint.snapshot(self.network, self.step.optimizer, self.world.device),
            "inputs": self.inputs,
            "source": self.source,
            "speakers": self.data.speakers,
            "settings": self.settings.model_dump_json(),
        }
        save_torch(models / checkpoint.file_name(self.iteration, self.epoch_iterations), state)
        if not rest:
            (models / checkpoint.BETWEEN_EPOCHS).unlink(missing_ok=True)
            best = best_epoch(self.folder, range(epoch + 1))
            checkpoint.remove_old(self.folder, self.settings.keep_checkpoints, best)


def train(config: str | Path, overrides: tuple[str, ...] = ()) -> Path:
    """Train the experiment of a YAML file, also under torchrun; return the experiment folder."""
    settings = load_experiment(config, overrides)
    with join_world(settings.device, settings.timeout_seconds) as world:
        Trainer(settings, world).run()
    return settings.experiment
