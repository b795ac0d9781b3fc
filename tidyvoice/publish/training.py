"""The trainings that led to a model, followed from each to the weights that it began with."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidyvoice.data.shards import ShardReader
from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import sha256
from tidyvoice.headers import SAMPLE_RATE
from tidyvoice.modelhub.folder import model_files
from tidyvoice.publish.privacy import shown
from tidyvoice.released import SOURCE_FILE, Source
from tidyvoice.runs import Experiment, read_experiment


@dataclass(frozen=True)
class Counts:
    """What a data folder holds, or several together."""

    utterances: int
    speakers: int
    hours: float
    languages: tuple[str, ...]


@dataclass(frozen=True)
class Training:
    """One training.

    Attributes:
        name: of its experiment.
        data: names of its data folders.
        counts: what these hold; None where that is not known any more.
        begins: the weights that it began with, in words.
    """

    name: str
    experiment: Experiment
    data: tuple[str, ...]
    counts: Counts | None
    begins: str

    def setting(self, key: str) -> Any:
        """A setting by its dotted key; None where the file does not say."""
        return self.experiment.settings.get(key)


def trainings_of(
    folder: Path, experiment: Experiment
) -> tuple[tuple[Training, ...], Source | None]:
    """The trainings that led to an experiment's model, and where the first one's weights are from.

    Only weights that are still those that a training began with are followed further.
    """
    begins, before, source = "random weights", (), None
    if init := experiment.settings.get("model.init"):
        begins, above, source = _beginning(Path(init), experiment)
        if above is not None and above != folder:
            before, source = trainings_of(above, read_experiment(above))
    return (*before, _training(folder, experiment, begins)), source


def _beginning(init: Path, experiment: Experiment) -> tuple[str, Path | None, Source | None]:
    """Initial weights in words; and the experiment that they are of, or where they are from."""
    name = f"`{shown(init)}`"
    try:
        files = model_files(init)
    except TidyVoiceError:
        return f"{name}, which is not there any more", None, None
    inputs = experiment.record[0].inputs if experiment.record else {}
    if inputs.get("initial weights") != sha256(files.weights):
        return f"{name}, of which it is not known whether they are the same still", None, None
    folder, source = files.folder, source_of(files.folder)
    if source is not None:
        original = _original(source, sha256(files.weights))
        if original is None:
            return describe_source(source), None, source
        folder = original
    above, earlier = experiment_of(folder)
    if earlier is None:
        return f"{name}, of which nothing is known", None, None
    return f"the model of `{shown(above)}`", above, None


def _original(source: Source, weights: str) -> Path | None:
    """The experiment's model folder that a model was copied from, if its weights are the same."""
    try:
        files = model_files(source.source)
    except TidyVoiceError:
        return None
    same = source.commit is None and sha256(files.weights) == weights
    return files.folder if same and experiment_of(files.folder)[1] is not None else None


def _training(folder: Path, experiment: Experiment, begins: str) -> Training:
    train = experiment.settings.get("data.train") or ()
    folders = (train,) if isinstance(train, str) else tuple(train)
    inputs = experiment.record[0].inputs if experiment.record else {}
    counts = _count(folders, inputs.get("data"))
    return Training(shown(folder), experiment, tuple(map(shown, folders)), counts, begins)


def _count(folders: Sequence[str], content: str | None) -> Counts | None:
    """What the data folders hold; None where they are not there, or not as they were."""
    try:
        reader = ShardReader(*folders)
    except TidyVoiceError:
        return None
    if content not in (None, reader.content):
        return None
    return Counts(
        len(reader),
        reader.speakers.n_unique(),
        float(reader.samples.sum()) / SAMPLE_RATE / 3600,
        tuple(reader.languages.drop_nulls().unique().sort()),
    )


def experiment_of(folder: Path) -> tuple[Path, Experiment | None]:
    """The folder above a model folder, and the experiment that it is if the model is its own."""
    above = folder.absolute().parent
    return above, read_experiment(above) if folder.absolute().name == "models" else None


def source_of(folder: Path) -> Source | None:
    """Where a model folder says that it was fetched from; None if its weights are others by now.

    Raises:
        TidyVoiceError: what says so cannot be read.
    """
    path = folder / SOURCE_FILE
    if not path.is_file():
        return None
    try:
        source = Source(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise TidyVoiceError(
            f"{path}: cannot be read ({error}); fetch the model again, or delete it"
        ) from None
    weights = model_files(folder).weights
    return source if source.files.get(weights.name) == sha256(weights) else None


def describe_source(source: Source) -> str:
    """Where a model is from, in words."""
    if source.commit is None:
        return f"the files {', '.join(sorted(source.files))} of `{shown(source.source)}`"
    return f"`{source.source}` at commit `{source.commit}`"
