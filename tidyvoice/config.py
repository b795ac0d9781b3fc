"""The settings of an experiment: typed, strict, and checked as a whole before anything runs.

An experiment is one YAML file. Every key of it is a field here; an unknown key or a bad value is
an error that names the file, the key and the nearest valid name, all mistakes at once.
"""

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tidyvoice.errors import TidyVoiceError, summarise
from tidyvoice.files import write_text
from tidyvoice.frontend import FrontendSettings
from tidyvoice.models import NUM_BLOCKS

Probability = Annotated[float, Field(ge=0, le=1)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataSettings(Strict):
    """What is trained on, and how a chunk is made of it."""

    train: Path = Field(description="data folder with shards")
    noise: Path | None = Field(None, description="data folder of noise, with shards; none if null")
    rirs: Path | None = Field(None, description="data folder of impulse responses, with shards")
    chunk_frames: int = Field(200, ge=8, description="frames of a training chunk")
    min_seconds: float = Field(2.0, ge=0, description="shorter utterances are left out")
    max_seconds: float | None = Field(8.0, gt=0, description="longer ones are cropped at random")
    speeds: tuple[Annotated[float, Field(gt=0.25, lt=4)], ...] = Field(
        (1.0, 0.9, 1.1), min_length=1, description="each speed makes a speaker a new class"
    )
    augment_probability: Probability = Field(0.6, description="of noise or reverberation")
    batch_size: int = Field(48, ge=2, description="utterances a step")
    readers: int = Field(2, ge=1, description="threads that read ahead")


class ModelSettings(Strict):
    """The network; names and arguments as in a WeSpeaker config.yaml."""

    name: str = Field("SimAM_ResNet34_ASP", json_schema_extra={"choices": list(NUM_BLOCKS)})
    in_planes: int = Field(64, ge=1)
    embed_dim: int = Field(256, ge=1)
    init: Path | None = Field(None, description="model folder or .pt file to start from")

    @model_validator(mode="after")
    def _known(self) -> "ModelSettings":
        if self.name not in NUM_BLOCKS:
            raise ValueError(f"name {self.name!r} is none of {', '.join(NUM_BLOCKS)}")
        return self


class LossSettings(Strict):
    """The classifier that the embeddings are trained with."""

    name: Literal["ArcMargin"] = "ArcMargin"
    scale: float = Field(32.0, gt=0)
    easy_margin: bool = False
    init: Literal["random", "speaker_means"] = Field(
        "random", description="class weights: random, or the mean embedding of each class"
    )


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
    log_iterations: int = Field(50, ge=1, description="steps between two lines of the log")
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["float32", "bf16"] = Field("float32", description="bf16: autocast")
    data: DataSettings
    frontend: FrontendSettings = FrontendSettings()
    model: ModelSettings = ModelSettings()
    loss: LossSettings = LossSettings()
    margin: MarginSettings = MarginSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    learning_rate: LearningRateSettings

    def save(self, path: str | Path) -> None:
        """Write the resolved settings as YAML; reading them back gives the same experiment."""
        write_text(path, yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False))


def load_experiment(path: str | Path, overrides: Sequence[str] = ()) -> Experiment:
    """The experiment of a YAML file, with ``key=value`` overrides (dotted keys, YAML values).

    Raises:
        TidyVoiceError: the file is missing or no YAML mapping, or keys or values are wrong; all
            of them are named.
    """
    return load_settings(Experiment, path, overrides)


def load_settings(model: type[BaseModel], path: str | Path, overrides: Sequence[str] = ()) -> Any:
    """Settings of type ``model`` from a YAML file and overrides (see ``load_experiment``)."""
    values = read_yaml(path)
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator or not key:
            raise TidyVoiceError(f"{override!r} is not key=value: write e.g. data.batch_size=32")
        *parents, last = key.split(".")
        place = values
        for parent in parents:
            if not isinstance(place.setdefault(parent, {}), dict):
                raise TidyVoiceError(f"{override!r}: {parent} is a value, no group of settings")
            place = place[parent]
        place[last] = yaml.load(text, Loader=_Loader)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = [_explain(model, problem) for problem in error.errors()]
        raise TidyVoiceError(f"{path}: {summarise(problems)}") from None


def read_yaml(path: str | Path) -> dict[str, Any]:
    """A YAML mapping.

    Raises:
        TidyVoiceError: the file is missing, no YAML, or holds something else.
    """
    if not Path(path).is_file():
        raise TidyVoiceError(f"{path} is missing: give the path of a YAML file")
    try:
        values = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        raise TidyVoiceError(f"{path}{where}: no valid YAML ({error.problem})") from None
    if not isinstance(values, dict):
        raise TidyVoiceError(f"{path}: expected settings as 'key: value' lines")
    return values


class _Loader(yaml.SafeLoader):
    """YAML 1.1 reads 3e-4 as a string; settings mean the number. A key given twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def _explain(model: type[BaseModel], problem: dict[str, Any]) -> str:
    location = [str(part) for part in problem["loc"]]
    key = ".".join(location)
    if problem["type"] == "extra_forbidden":
        known = _fields_at(model, location[:-1])
        near = difflib.get_close_matches(location[-1], known, n=1, cutoff=0.5)
        prefix = key[: len(key) - len(location[-1])]
        mend = f"did you mean {prefix}{near[0]}?" if near else f"known are {', '.join(known)}"
        return f"unknown key {key}: {mend}"
    if problem["type"] == "missing":
        return f"the key {key} is missing"
    message = problem["msg"].removeprefix("Value error, ")
    given = "" if isinstance(problem["input"], dict) else f" (it is {problem['input']!r})"
    return f"{key}: {message}{given}"


def _fields_at(model: type[BaseModel], location: Sequence[str]) -> list[str]:
    for part in location:
        if part not in model.model_fields:
            return []
        annotation = model.model_fields[part].annotation
        options = [annotation, *get_args(annotation)]
        model = next(t for t in options if isinstance(t, type) and issubclass(t, BaseModel))
    return list(model.model_fields)
