"""The settings of an experiment: typed, strict, and checked as a whole before anything runs.

Descriptions that need more words are in local/settings_reference.yaml.
"""

import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import torch
import yaml
from pydantic import BeforeValidator, Field, model_validator

from tidyvoice.augmentations import AUGMENTATIONS
from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import write_text
from tidyvoice.frontends import FrontendSettings, with_frontend
from tidyvoice.losses import LOSSES
from tidyvoice.models import MODELS, EmbeddingModel
from tidyvoice.models.registry import Size
from tidyvoice.optimizers import OPTIMIZERS
from tidyvoice.samplers import SAMPLERS
from tidyvoice.schedules import LEARNING_RATES, MARGINS
from tidyvoice.settings import Strict, load_settings
from tidyvoice.settings.registry import ComponentSettings, Count, Registry


def speed_fraction(speed: float) -> Fraction:
    """Return a speed as the ratio of two sampling rates, by which an utterance is resampled."""
    return Fraction(speed).limit_denominator(100)


def _several(value: object) -> object:
    return [value] if isinstance(value, str | Path) else value


class SamplerSettings(ComponentSettings):
    """The order of the utterances in a pass over the data."""

    registry: ClassVar[Registry] = SAMPLERS
    trial: ClassVar[tuple | None] = ()

    name: str = "Shuffled"


class AugmentationSettings(ComponentSettings):
    """A further augmentation."""

    registry: ClassVar[Registry] = AUGMENTATIONS
    trial: ClassVar[tuple | None] = ()


class DataSettings(Strict):
    """The training data, and how chunks are made of it."""

    train: Annotated[tuple[Path, ...], BeforeValidator(_several)] = Field(
        min_length=1, description="data folder with shards, or a list of them"
    )
    noise: Path | None = Field(None, description="data folder of noise, with shards; none if null")
    rirs: Path | None = None
    # Shorter chunks give maps of one column, see EmbeddingModel.min_frames_bf16.
    chunk_frames: int = Field(200, ge=9, le=100_000, description="frames of a training chunk")
    min_seconds: float = Field(2.0, ge=0, le=10**6, description="shorter utterances are left out")
    max_seconds: float | None = Field(8.0, ge=0.1, le=10**6)
    speeds: tuple[Annotated[float, Field(gt=0.25, lt=4)], ...] = Field(
        (1.0, 0.9, 1.1),
        min_length=1,
        max_length=99,
        description="a speaker makes a class at each speed",
    )
    augment_probability: float = Field(0.6, ge=0, le=1)
    augmentations: tuple[AugmentationSettings, ...] = ()
    batch_size: int = Field(48, ge=2, le=10**5, description="utterances in a batch of each process")
    sampler: SamplerSettings = SamplerSettings()
    num_workers: int = Field(2, ge=1, le=1000, description="threads that read ahead")

    @model_validator(mode="after")
    def _consistent(self) -> "DataSettings":
        sampler = self.sampler.build()
        sampler.check(self.batch_size)
        if sampler.grouped and len(self.speeds) > 1:  # a speaker is another class at each
            raise ValueError("pairs and episodes need one speed: set speeds to [1.0]")
        for speed in self.speeds:
            if abs(speed_fraction(speed) - speed) > 1e-6:
                raise ValueError(f"round the speed {speed} to hundredths")
        return self


class ModelSettings(ComponentSettings):
    """The network; names and arguments as in a WeSpeaker config.yaml."""

    registry: ClassVar[Registry] = MODELS

    name: str = "SimAM_ResNet34_ASP"
    init: Path | None = Field(None, description="model folder or .pt file to start from")
    init_partial: bool = Field(False, description="take the tensors that fit by name and shape")
    init_scheme: Literal["own", "torch"] = Field(
        "own", description="weights of a new model: the network's own scheme, or torch's defaults"
    )
    activation_checkpointing: bool = Field(False, description="less memory, a third more time")
    compile: bool = Field(False, description="torch.compile (SimAM-ResNet: not the pooling)")
    ema_decay: float | None = Field(
        None, gt=0, lt=1, description="also keep a moving average of the weights, and average that"
    )

    @model_validator(mode="after")
    def _consistent(self) -> "ModelSettings":
        if self.compile and self.activation_checkpointing:
            raise ValueError("compile excludes activation_checkpointing: set one of them false")
        return self

    @property
    def embed_dim(self) -> int:
        """Dimensions of an embedding: a setting of every network."""
        return self.args["embed_dim"]


class LossSettings(ComponentSettings):
    """The classifier that the embeddings are trained with."""

    registry: ClassVar[Registry] = LOSSES
    decided_elsewhere: ClassVar[dict[str, str]] = {"margin": "the section margin"}

    name: str = "ArcMargin"
    init: Literal["random", "speaker_means", "checkpoint"] = Field(
        "random", description="class weights: random, mean embeddings, or those of model.init"
    )


class LanguageSettings(Strict):
    """Further loss terms, which reduce the influence of the language on the embeddings.

    Adversary and contrast need the languages of the data (utt2lang), and leave out utterances
    without one. Prototypes need a sampler with several utterances of a speaker in a batch; with
    that of episodes, an utterance is compared with other speakers of its language.
    """

    adversary: float = Field(0.0, ge=0)
    adversary_hidden: Size = 256
    contrast: float = Field(0.0, ge=0)
    temperature: float = Field(0.1, gt=0)
    negatives: Literal["all", "same_language"] = "all"
    prototypes: float = Field(0.0, ge=0)
    prototypes_temperature: float = Field(0.07, gt=0)
    warmup_epochs: float = Field(
        0, ge=0, le=10**6, description="epochs in which the weights rise from zero"
    )


class ValidationSettings(Strict):
    """A trial list of held-out speakers, scored at the end of epochs."""

    data: Path = Field(description="data folder of its utterances")
    trials: Path = Field(description="trial list with labels")
    every_epochs: Count = 1


class MarginSettings(ComponentSettings):
    """The margin of the loss at each step."""

    registry: ClassVar[Registry] = MARGINS
    trial: ClassVar[tuple | None] = (1, 1)

    name: str = "IncreasingMargin"


class LearningRateSettings(ComponentSettings):
    """The learning rate at each step. The rate given is the rate used."""

    registry: ClassVar[Registry] = LEARNING_RATES
    trial: ClassVar[tuple | None] = (1, 1)

    name: str = "ExponentialDecrease"


class ParameterGroup(Strict):
    """Parameters of the network with settings of their own."""

    pattern: re.Pattern[str] = Field(description="regular expression within a parameter's name")
    lr_factor: float = Field(1.0, ge=0, description="multiplies the learning rate")
    weight_decay: float | None = Field(None, ge=0)
    frozen: bool = Field(False, description="keep the values, and batch norm's statistics")


class OptimizerSettings(ComponentSettings):
    """The optimizer; its weight decay applies to all parameters unless a group says otherwise."""

    registry: ClassVar[Registry] = OPTIMIZERS
    trial: ClassVar[tuple | None] = ([{"params": [torch.nn.Parameter(torch.zeros(1))]}],)

    name: str = "SGD"
    groups: tuple[ParameterGroup, ...] = ()


class Experiment(Strict):
    """One training. The epoch is a number of steps: a pass over the data unless it is given."""

    experiment: Path = Field(description="folder that the experiment writes")
    seed: int = Field(1, ge=0, lt=2**63)
    epochs: int = Field(ge=0, le=10**6)
    epoch_iterations: Count | None = None
    checkpoint_iterations: Count | None = Field(None, description="steps between further saves")
    keep_checkpoints: Count = Field(10, description="epochs whose checkpoints stay on disk")
    average: Count = Field(1, description="number of last checkpoints to average")
    log_iterations: Count = Field(50, description="steps between two lines of the log")
    gradient_accumulation: Count = Field(1, description="batches of each process in one step")
    reference_batch_size: Count | None = Field(
        None, description="global batch size for which the learning rate was tuned"
    )
    clip_gradient: float | None = Field(
        None, gt=0, description="largest L2 norm of the network's gradient"
    )
    timeout_seconds: float = Field(
        600, gt=0, le=10**6, description="longest wait for another process"
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["float32", "bf16"] = "float32"
    tuning: bool = Field(
        True, description="on CUDA, measure ways to compute a step first and use the fastest"
    )
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
    def _consistent(self) -> "Experiment":
        # Without epochs the untrained model is the one that is averaged.
        if self.average > min(max(self.epochs, 1), self.keep_checkpoints):
            raise ValueError("average is above epochs or keep_checkpoints: set it lower")
        if self.loss.init == "checkpoint" and not self.model.init:
            raise ValueError("loss.init: checkpoint needs the folder of a model: set model.init")
        if self.languages.contrast and len(self.data.speeds) > 1:
            # It would separate the classes of a speaker at different speeds.
            raise ValueError("languages.contrast needs one speed: set data.speeds to [1.0]")
        if self.languages.prototypes and not self.data.sampler.build().grouped:
            fix = "set data.sampler.name to Episodes, or data.sampler.args.pairs to true"
            raise ValueError(f"languages.prototypes needs several utterances of a speaker: {fix}")
        return self

    def build_model(self) -> EmbeddingModel:
        """Build the network for the features of the front end, with torch's initial weights."""
        frontend = self.frontend.build()
        with torch.device("meta"):
            outline = self.model.build(frontend.feature_dim)
        count = sum(parameter.numel() for parameter in outline.parameters())
        if count > 10**10:  # 40 GB
            raise TidyVoiceError(f"model.args: {count:,} parameters: set smaller sizes")
        return with_frontend(self.model.build(frontend.feature_dim), frontend)

    def save(self, path: str | Path) -> None:
        """Write the settings with all defaults as YAML; loading them gives the same experiment.

        A file with the same content keeps its time, by which run.sh sees which steps are outdated.
        """
        path, text = Path(path), yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)


def load_experiment(path: str | Path, overrides: Sequence[str] = ()) -> Experiment:
    """Load the experiment of a YAML file, with overrides (see ``load_settings``)."""
    return load_settings(Experiment, path, overrides)
