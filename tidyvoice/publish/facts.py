"""Facts for a model card: the model, its training and its results."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from tidyvoice.config import ModelSettings
from tidyvoice.data.shards import ShardReader
from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.errors import TidyVoiceError
from tidyvoice.evaluation.evaluate import Evaluation, evaluate
from tidyvoice.files import sha256
from tidyvoice.modelhub.folder import model_files
from tidyvoice.modelhub.wespeaker import network_of
from tidyvoice.released import ModelOrigin, read_source
from tidyvoice.report.system import load_system
from tidyvoice.runs import USUAL, Experiment, read_experiment
from tidyvoice.settings import read_yaml


def shorten(path: str | PurePath) -> str:
    """Return the last two parts of a path in the working directory, the last one of any other."""
    path = Path(path).absolute()
    if ".." in path.parts or not path.is_relative_to(Path.cwd()):
        return path.name
    return "/".join(path.relative_to(Path.cwd()).parts[-2:])


@dataclass(frozen=True)
class Result:
    """An evaluation of the model; ``verified`` if the scores are known to be of these weights."""

    name: str
    evaluation: Evaluation
    verified: bool

    @property
    def fair(self) -> bool:
        """True if the results are known to be neither in-sample nor confounded."""
        return self.evaluation.lineage.complete and not self.evaluation.lineage.flaws

    @property
    def trials(self) -> str:
        """The name of the trial list; that of the score file if it is unknown."""
        sources = [source for step in self.evaluation.lineage.steps for source in step.inputs]
        paths = [source.path for source in sources if source.role == "trials"]
        return shorten(paths[0]).removesuffix(".txt") if paths else self.name


@dataclass(frozen=True)
class Facts:
    """A model and what is known of it; the path of ``folder`` must not be published.

    ``reader`` is None if the training data are missing or have changed. ``source`` is the released
    model that it is or that its training began with, if any.
    """

    encoder: SpeakerEncoder
    folder: Path
    network: ModelSettings
    experiment: Experiment | None
    data: tuple[str, ...]
    reader: ShardReader | None
    source: ModelOrigin | None
    results: tuple[Result, ...]

    @property
    def languages(self) -> list[str]:
        """The languages of the data, in order."""
        return self.reader.languages.drop_nulls().unique().sort().to_list() if self.reader else []

    @property
    def initial(self) -> str:
        """The initial weights of the training, in words."""
        if self.source:
            return self.source.in_words()
        init = self.experiment.settings.get("model.init")
        return f"`{shorten(init)}`" if init else "random weights"


def gather(model: str | Path, scores: Sequence[str] = (), resamples: int = 1000) -> Facts:
    """Read a model, its experiment if there is one, and the score files of these names.

    By default, those of ``USUAL`` that exist. ``resamples`` is for confidence intervals. Scores
    of a fusion or of another model are errors.
    """
    files = model_files(model)
    folder = files.folder.absolute()
    encoder = SpeakerEncoder.from_pretrained(folder, "cpu")
    name, args = network_of(read_yaml(files.config), files.config)
    experiment = read_experiment(folder.parent) if folder.name == "models" else None
    data, reader, source, results = (), None, None, []
    if experiment is None:
        source = read_source(folder)
        if scores:
            raise TidyVoiceError(f"--scores {scores[0]}: {model} is not an experiment")
    else:
        train = experiment.settings.get("data.train") or ()
        data = (train,) if isinstance(train, str) else tuple(train)
        inputs = experiment.record[0].inputs if experiment.record else {}
        reader = _reader(data, inputs.get("data"))
        source = _initial_source(experiment.settings.get("model.init"), inputs)
        for list_name in scores or [usual for usual in USUAL if usual in experiment.scores]:
            file = load_system(folder.parent, list_name).file
            evaluation = evaluate(file, resamples=resamples)
            verified = _is_of(evaluation, encoder.weights, file.path)
            results.append(Result(list_name, evaluation, verified))
    network = ModelSettings(name=name, args=args)
    return Facts(encoder, folder, network, experiment, data, reader, source, tuple(results))


def _reader(folders: Sequence[str], content: str | None) -> ShardReader | None:
    try:
        reader = ShardReader(*folders)
    except TidyVoiceError:
        return None
    return reader if content in (None, reader.content) else None


def _initial_source(init: str | None, inputs: dict[str, str]) -> ModelOrigin | None:
    """Return the origin of the initial weights; None if it is unknown or they have changed."""
    if not init or not Path(init).exists():
        return None
    files = model_files(init)
    same = inputs.get("initial weights") == sha256(files.weights)
    return read_source(files.folder) if same else None


def _is_of(evaluation: Evaluation, weights: str, scores: Path) -> bool:
    """Check that scores are those of a model; return False if that is unknown."""
    steps = evaluation.lineage.steps
    if any(step.step == "fusion" for step in steps):
        raise TidyVoiceError(f"{scores} is a fusion of several systems: publish another score file")
    models = [step.settings.get("model") for step in steps if step.step in ("cosine", "backend")]
    if set(models) - {None, weights}:
        raise TidyVoiceError(f"{scores} was made with another model: extract and score again")
    return weights in models
