"""The trainings that led to a model, each with the weights that it began with."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tidyvoice.data.shards import ShardReader
from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import sha256
from tidyvoice.headers import SAMPLE_RATE
from tidyvoice.model_files import ModelFiles
from tidyvoice.modelhub.folder import model_files
from tidyvoice.publish.privacy import shown
from tidyvoice.released import Source, read_source
from tidyvoice.runs import Experiment, read_experiment


@dataclass(frozen=True)
class Training:
    """One training.

    Attributes:
        folder: of its experiment.
        data: names of its data folders.
        reader: of the data; None if they are missing or have changed.
        initial: the initial weights, in words.
    """

    folder: Path
    experiment: Experiment
    data: tuple[str, ...]
    reader: ShardReader | None
    initial: str

    @property
    def languages(self) -> list[str]:
        """The languages of the data, in order."""
        return self.reader.languages.drop_nulls().unique().sort().to_list() if self.reader else []

    @property
    def hours(self) -> float:
        """The duration of the data."""
        return float(self.reader.samples.sum()) / SAMPLE_RATE / 3600


def history(files: ModelFiles) -> tuple[tuple[Training, ...], Source | None]:
    """Return the trainings that led to a model, the first one first, and the released model.

    The released model is the one that the first training began with, or the model itself if it was
    not trained here; None if it is unknown.

    Raises:
        TidyVoiceError: a ``source.json`` cannot be read.
    """
    folder, experiment = experiment_of(files.folder)
    if experiment is None:
        source = read_source(files.folder)
        original = _local_original(files, source)
        return history(original) if original else ((), source)
    earlier, source, initial = _initial(experiment)
    inputs = experiment.record[0].inputs if experiment.record else {}
    train = experiment.settings.get("data.train") or ()
    folders = (train,) if isinstance(train, str) else tuple(train)
    reader = _reader(folders, inputs.get("data"))
    training = Training(folder, experiment, tuple(map(shown, folders)), reader, initial)
    return (*earlier, training), source


def experiment_of(folder: Path) -> tuple[Path, Experiment | None]:
    """Return the folder above a model folder, and its experiment if it trained the model."""
    folder = folder.absolute()
    return folder.parent, read_experiment(folder.parent) if folder.name == "models" else None


def _initial(experiment: Experiment) -> tuple[tuple[Training, ...], Source | None, str]:
    """Return the history of the initial weights, and the weights in words."""
    init = experiment.settings.get("model.init")
    if not init:
        return (), None, "random weights"
    name = f"`{shown(init)}`"
    try:
        files = model_files(init)
    except TidyVoiceError:
        return (), None, f"{name}, which no longer exists"
    inputs = experiment.record[0].inputs if experiment.record else {}
    if inputs.get("initial weights") != sha256(files.weights):
        return (), None, f"{name}, whose weights may have changed since"
    earlier, source = history(files)
    if earlier:
        return earlier, source, f"the model of `{shown(earlier[-1].folder)}`"
    return (), source, source.in_words() if source else f"{name}, whose origin is unknown"


def _local_original(files: ModelFiles, source: Source | None) -> ModelFiles | None:
    """Return the model of an experiment that a model was copied from, if it has not changed."""
    if source is None or source.commit is not None:
        return None
    try:
        original = model_files(source.source)
    except TidyVoiceError:
        return None
    same = sha256(original.weights) == sha256(files.weights)
    return original if same and experiment_of(original.folder)[1] else None


def _reader(folders: Sequence[str], content: str | None) -> ShardReader | None:
    try:
        reader = ShardReader(*folders)
    except TidyVoiceError:
        return None
    return reader if content in (None, reader.content) else None
