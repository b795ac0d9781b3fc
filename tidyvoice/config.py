"""The settings of an experiment: typed, strict, and checked as a whole before anything runs.

An experiment is one YAML file. Every key of it is a field here; an unknown key or a bad value is
an error that names the file, the key and the nearest valid name, all mistakes at once.
"""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import yaml
from pydantic import BeforeValidator, Field, model_validator

from tidyvoice.files import write_text
from tidyvoice.frontends import FrontendSettings
from tidyvoice.losses import LOSSES
from tidyvoice.models import MODELS, EmbeddingModel, build_for
from tidyvoice.settings import Strict, load_settings
from tidyvoice.settings.registry import ComponentSettings, Registry

MAX_SPEED_DENOMINATOR = 100
Probability = Annotated[float, Field(ge=0, le=1)]


def speed_fraction(speed: float) -> Fraction:
    """A speed as the ratio of two rates, by which an utterance is resampled."""
    return Fraction(speed).limit_denominator(MAX_SPEED_DENOMINATOR)


def _several(value: object) -> object:
    return [value] if isinstance(value, str | Path) else value


class DataSettings(Strict):
    """What is trained on, and how a chunk is made of it."""

    train: Annotated[tuple[Path, ...], BeforeValidator(_several)] = Field(
        min_length=1, description="data folder with shards, or a list of them"
    )
    noise: Path | None = Field(None, description="data folder of noise, with shards; none if null")
    rirs: Path | None = Field(None, description="data folder of impulse responses, with shards")
    # Shorter chunks give maps of one column, see EmbeddingModel.fewest_half_frames.
    chunk_frames: int = Field(200, ge=9, description="frames of a training chunk")
    min_seconds: float = Field(2.0, ge=0, description="shorter utterances are left out")
    max_seconds: float | None = Field(8.0, gt=0, description="longer ones are cropped at random")
    speeds: tuple[Annotated[float, Field(gt=0.25, lt=4)], ...] = Field(
        (1.0, 0.9, 1.1), min_length=1, description="each speed makes a speaker a new class"
    )
    augment_probability: Probability = Field(0.6, description="of noise or reverberation")
    batch_size: int = Field(48, ge=2, description="utterances at a time, of each process")
    order: Literal["shuffled", "windowed"] = Field(
        "shuffled", description="windowed: few shards at a time, for disks that seek slowly"
    )
    window_shards: int = Field(16, ge=1, description="shards that are shuffled together")
    balance: Literal["none", "speaker", "language"] = Field(
        "none", description="draw these equally often rather than each utterance once a pass"
    )
    balance_power: Probability = Field(0.0, description="0: equally often, 1: as often as they are")
    pairs: bool = Field(
        False, description="two utterances of each speaker in a batch, if possible in two languages"
    )
    readers: int = Field(2, ge=1, description="threads that read ahead")

    @model_validator(mode="after")
    def _possible(self) -> "DataSettings":
        if self.order == "windowed" and (self.pairs or self.balance != "none"):
            raise ValueError("order: windowed goes with neither pairs nor balance")
        if self.pairs and self.batch_size % 2:
            raise ValueError(f"pairs need an even batch_size, not {self.batch_size}")
        if self.pairs and len(self.speeds) > 1:
            raise ValueError("pairs go with one speed: a speaker at another speed is another class")
        for speed in self.speeds:
            if abs(speed_fraction(speed) - speed) > 1e-6:
                raise ValueError(f"the speed {speed} is no fraction with a denominator up to 100")
        return self


class ModelSettings(ComponentSettings):
    """The network; names and arguments as in a WeSpeaker config.yaml."""

    registry: ClassVar[Registry] = MODELS

    name: str = Field("SimAM_ResNet34_ASP", description="see tidyvoice.models")
    init: Path | None = Field(None, description="model folder or .pt file to start from")
    init_scheme: Literal["own", "torch"] = Field(
        "own",
        description="weights of a new model: its own scheme if it has one (SimAM-ResNets: He et "
        "al., and zero for the last batch norm of each block), or torch's defaults as in the "
        "published networks",
    )
    recompute: bool = Field(
        False,
        description="keep only the input of each block for the backward pass: a third more time",
    )
    sync_batchnorm: bool = Field(False, description="batch statistics over all processes (CUDA)")
    compile: bool = Field(
        False, description="torch.compile of the network (SimAM-ResNet: without the pooling)"
    )
    ema_decay: float | None = Field(
        None, gt=0, lt=1, description="also keep a moving average of the weights, and average that"
    )

    @model_validator(mode="after")
    def _possible(self) -> "ModelSettings":
        if self.compile and self.recompute:
            raise ValueError("compile does not go with recompute: set one of them false")
        return self

    @property
    def embed_dim(self) -> int:
        """Dimensions of an embedding: a setting of every network."""
        return self.args["embed_dim"]


class LossSettings(ComponentSettings):
    """The classifier that the embeddings are trained with."""

    registry: ClassVar[Registry] = LOSSES
    decided_elsewhere: ClassVar[dict[str, str]] = {"margin": "the section margin"}

    name: str = Field("ArcMargin", description="see tidyvoice.losses")
    init: Literal["random", "speaker_means", "checkpoint"] = Field(
        "random",
        description="class weights: random, the mean embedding of each class' chunks, or those "
        "that model.init has for the same speakers",
    )


class LanguageSettings(Strict):
    """Terms beside the classifier that make embeddings tell less about the language.

    They go by the languages of the data (utt2lang); utterances without one are left out of them.
    """

    adversary: float = Field(0.0, ge=0, description="weight of a language classifier's reversal")
    adversary_hidden: int = Field(256, ge=1, description="units of its hidden layer")
    contrast: float = Field(0.0, ge=0, description="weight of pairs of a speaker in two languages")
    temperature: float = Field(0.1, gt=0, description="of the contrast")
    negatives: Literal["all", "same_language"] = Field(
        "all", description="whom an utterance is contrasted with"
    )
    rise_epochs: float = Field(0, ge=0, description="epochs in which the weights rise from zero")


class ValidationSettings(Strict):
    """A trial list of held-out speakers, scored at the end of epochs."""

    data: Path = Field(description="data folder of its utterances")
    trials: Path = Field(description="trial list with labels")
    every_epochs: int = Field(1, ge=1)


class MarginSettings(Strict):
    """Arguments of ``MarginSchedule``; epochs count from 1."""

    initial_margin: float = Field(0.0, ge=0, lt=1.6)
    final_margin: float = Field(0.2, ge=0, lt=1.6)
    increase_start_epoch: int = 1
    fix_start_epoch: int = 1
    increase_type: Literal["linear", "exp"] = "exp"
    update_margin: bool = True

    @model_validator(mode="after")
    def _ordered(self) -> "MarginSettings":
        if self.fix_start_epoch < self.increase_start_epoch:
            raise ValueError("fix_start_epoch is before increase_start_epoch")
        return self


class LearningRateSettings(Strict):
    """Arguments of ``ExponentialDecrease``. The rate given is the rate used (scale_ratio 1)."""

    initial_lr: float = Field(gt=0)
    final_lr: float = Field(gt=0)
    warm_up_epoch: float = Field(0, ge=0)
    warm_from_zero: bool = False
    scale_ratio: float = Field(1.0, gt=0)


class OptimizerSettings(Strict):
    """SGD with Nesterov momentum, or AdamW; weight decay applies to all parameters."""

    name: Literal["SGD", "AdamW"] = "SGD"
    momentum: float = Field(0.9, ge=0, lt=1, description="SGD only")
    nesterov: bool = Field(True, description="SGD only")
    weight_decay: float = Field(1e-4, ge=0)

    @model_validator(mode="after")
    def _possible(self) -> "OptimizerSettings":
        if self.name == "SGD" and self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")
        return self


class Experiment(Strict):
    """One training. The epoch is a number of steps: a pass over the data unless it is given."""

    experiment: Path = Field(description="folder that the experiment writes")
    seed: int = Field(1, ge=0)
    epochs: int = Field(ge=0, description="0 writes the untrained model")
    epoch_iterations: int | None = Field(None, ge=1, description="steps an epoch; null: a pass")
    checkpoint_iterations: int | None = Field(
        None, ge=1, description="also save between epochs, every so many steps"
    )
    keep_checkpoints: int = Field(10, ge=1, description="epochs whose checkpoints stay on disk")
    average: int = Field(1, ge=1, description="last epochs whose mean is the model")
    log_iterations: int = Field(50, ge=1, description="steps between two lines of the log")
    accumulate: int = Field(1, ge=1, description="batches of each process in one step")
    tuned_batch: int | None = Field(
        None, ge=1, description="global batch size for which the learning rate was tuned"
    )
    clip_gradient: float | None = Field(
        None, gt=0, description="longest gradient of the network (L2 norm)"
    )
    timeout_seconds: float = Field(
        600, gt=0, description="how long a process waits for the others before it gives up"
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["float32", "bf16"] = Field("float32", description="bf16: autocast")
    data: DataSettings
    frontend: FrontendSettings = FrontendSettings()
    model: ModelSettings = ModelSettings()
    loss: LossSettings = LossSettings()
    languages: LanguageSettings = LanguageSettings()
    validation: ValidationSettings | None = None
    margin: MarginSettings = MarginSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    learning_rate: LearningRateSettings

    @model_validator(mode="after")
    def _enough_checkpoints(self) -> "Experiment":
        # Without epochs the untrained model is the one that is taken.
        kept = {"epochs": max(self.epochs, 1), "keep_checkpoints": self.keep_checkpoints}
        for key, number in kept.items():
            if number < self.average:
                raise ValueError(
                    f"{key} is {number}, and {self.average} epochs are to be averaged: set {key} "
                    "higher or average lower"
                )
        return self

    @model_validator(mode="after")
    def _known_head(self) -> "Experiment":
        if self.loss.init == "checkpoint" and not self.model.init:
            raise ValueError("loss.init: checkpoint needs the folder of a model: set model.init")
        return self

    @model_validator(mode="after")
    def _one_voice(self) -> "Experiment":
        if self.languages.contrast and len(self.data.speeds) > 1:
            raise ValueError(
                "languages.contrast goes with one of data.speeds: at another speed a speaker is "
                "another class, from which the contrast would part it"
            )
        return self

    def build_model(self) -> EmbeddingModel:
        """Build the network for the features of the front end, with torch's initial weights."""
        return build_for(self.frontend.build(), self.model.name, **self.model.args)

    def save(self, path: str | Path) -> None:
        """Write the resolved settings as YAML; reading them back gives the same experiment.

        A file that holds them already keeps its time, by which run.sh sees what is out of date.
        """
        path, text = Path(path), yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)


def load_experiment(path: str | Path, overrides: Sequence[str] = ()) -> Experiment:
    """The experiment of a YAML file, with overrides (see ``load_settings``)."""
    return load_settings(Experiment, path, overrides)
