"""Facts for a model card: the model, its trainings and its results."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tidyvoice.config import ModelSettings
from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.errors import TidyVoiceError
from tidyvoice.evaluation.evaluate import Evaluation, evaluate
from tidyvoice.files import sha256
from tidyvoice.modelhub.folder import REPOSITORY, model_files
from tidyvoice.modelhub.wespeaker import network_of, read_config
from tidyvoice.publish.history import Training, experiment_of, history
from tidyvoice.publish.privacy import shown
from tidyvoice.released import Source
from tidyvoice.report.system import load_system
from tidyvoice.runs import USUAL
from tidyvoice.scoring import provenance
from tidyvoice.scoring.embeddings import load_embeddings

LICENCE = re.compile(r"[a-z0-9][a-z0-9.-]*")


@dataclass(frozen=True)
class Result:
    """An evaluation of the model.

    Attributes:
        name, path: of the score file.
        verified: True if the scores are known to come from these very weights.
    """

    name: str
    path: Path
    evaluation: Evaluation
    verified: bool

    @property
    def fair(self) -> bool:
        """True if the results are known to be neither in-sample nor confounded."""
        lineage = self.evaluation.lineage
        return lineage.complete and not lineage.flaws

    @property
    def trials(self) -> str:
        """The name of the trial list; that of the score file if it is unknown."""
        sources = [source for step in self.evaluation.lineage.steps for source in step.inputs]
        paths = [source.path for source in sources if source.role == "trials"]
        return shown(paths[0]).removesuffix(".txt") if paths else self.name


@dataclass(frozen=True)
class Facts:
    """A model and what is known of it.

    Attributes:
        network: its name and arguments.
        trainings: those that led to it, the first one first; empty if none is known.
        source: the released model that it is or that its first training began with, if any.
        private: folders whose paths must not be published.
    """

    encoder: SpeakerEncoder
    network: ModelSettings
    trainings: tuple[Training, ...]
    source: Source | None
    results: tuple[Result, ...]
    private: tuple[Path, ...]


@dataclass(frozen=True)
class Terms:
    """Decisions of the publisher.

    Attributes:
        repository: OWNER/NAME.
        licence: of the weights, as the Hub writes it.
        about: the model in the publisher's words.

    Raises:
        TidyVoiceError: the repository or the licence is malformed.
    """

    repository: str
    licence: str
    about: str = ""

    def __post_init__(self) -> None:
        if not REPOSITORY.fullmatch(self.repository):
            raise TidyVoiceError(f"{self.repository}: not a repository id; write OWNER/NAME")
        if not LICENCE.fullmatch(self.licence):
            raise TidyVoiceError(
                f"--licence {self.licence!r}: write it as the Hub does (apache-2.0, cc-by-4.0), or "
                "other"
            )


def gather(
    model: str | Path,
    scores: Sequence[str] = (),
    utt2lang: Sequence[Path] = (),
    utt2spk: Sequence[Path] = (),
    resamples: int = 1000,
) -> Facts:
    """Read a model with its trainings and results.

    Args:
        model: an experiment or a model folder.
        scores: names of the score files of the experiment to report; by default those of ``USUAL``
            that exist.
        utt2lang, utt2spk: languages and speakers of the utterances; see ``load_system``.
        resamples: of the speakers, for confidence intervals; 0 for none.

    Raises:
        TidyVoiceError: there is no such model; or a score file is missing, faulty, without labels,
            a fusion, or made with another model.
    """
    files = model_files(model)
    encoder = SpeakerEncoder.from_pretrained(files.folder, "cpu")
    name, args = network_of(read_config(files.config), files.config)
    folder, experiment = experiment_of(files.folder)
    if experiment is None and scores:
        raise TidyVoiceError(f"--scores {scores[0]}: {model} is not an experiment; leave it out")
    trainings, source = history(files)
    names = scores or [name for name in USUAL if experiment and name in experiment.scores]
    results = []
    for list_name in names:
        file = load_system(folder, list_name, list_name, utt2lang, utt2spk).file
        evaluation = evaluate(file, resamples=resamples)
        verified = _is_of(evaluation, encoder.weights, file.path)
        results.append(Result(list_name, file.path, evaluation, verified))
    private = (files.folder, *(training.folder for training in trainings))
    network = ModelSettings(name=name, args=args)
    return Facts(encoder, network, trainings, source, tuple(results), private)


def _is_of(evaluation: Evaluation, weights: str, scores: Path) -> bool:
    """Check that the scored embeddings are those of a model; return False if that is unknown.

    Raises:
        TidyVoiceError: they are of another model, or of several.
    """
    steps = evaluation.lineage.steps
    if any(step.step == "fusion" for step in steps):
        raise TidyVoiceError(
            f"{scores} is a fusion of several systems, not a result of this model alone"
        )
    sources = [source for step in steps if step.step == "cosine" for source in step.inputs]
    tables = [source for source in sources if source.role == "embeddings"]
    if not tables or not all(_unchanged(table) for table in tables):
        return False
    models = {load_embeddings(table.path).model for table in tables}
    if models - {None, weights}:
        raise TidyVoiceError(
            f"{scores} was made with embeddings of another model: extract and score again"
        )
    return None not in models


def _unchanged(source: provenance.Source) -> bool:
    return Path(source.path).is_file() and sha256(source.path) == source.sha256
