"""What is known of a model: how it was trained, on what, and how good it was found to be."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tidyvoice.config import ModelSettings
from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.errors import TidyVoiceError
from tidyvoice.evaluation.categories import OPERATING_POINTS
from tidyvoice.files import sha256
from tidyvoice.modelhub.folder import REPOSITORY, model_files
from tidyvoice.modelhub.wespeaker import network_of, read_config
from tidyvoice.publish.training import Training, experiment_of, source_of, trainings_of
from tidyvoice.released import Source
from tidyvoice.report import load_system
from tidyvoice.report.system import SystemResult, examine
from tidyvoice.runs.experiments import read_experiment
from tidyvoice.runs.listing import USUAL
from tidyvoice.scoring import provenance
from tidyvoice.scoring.embeddings import load_embeddings

LICENCE = re.compile(r"[a-z0-9][a-z0-9.-]*")


@dataclass(frozen=True)
class Evaluation:
    """How good the model was on one list.

    Attributes:
        name: of its score file.
        sure: whether the scores are known to be made with embeddings of these very weights.
    """

    name: str
    result: SystemResult
    sure: bool

    @property
    def flatters(self) -> bool:
        """True if the results are in-sample or confounded, or if that is not known at all."""
        return not self.result.lineage.known or bool(self.result.lineage.flaws)


@dataclass(frozen=True)
class Facts:
    """What there is to say of a model.

    Attributes:
        encoder: the model itself.
        network: its name and size.
        trainings: those that led to it, the first one first; empty where none is known.
        source: where the weights are from that the first training began with, or if there was none
            the model itself; None where that is not known.
        evaluations: on lists of trials.
        private: folders that were looked at.
    """

    encoder: SpeakerEncoder
    network: ModelSettings
    trainings: tuple[Training, ...]
    source: Source | None
    evaluations: tuple[Evaluation, ...]
    private: tuple[Path, ...]

    @property
    def parameters(self) -> int:
        """How many the model has."""
        return sum(parameter.numel() for parameter in self.encoder.model.parameters())


@dataclass(frozen=True)
class Terms:
    """What the publisher decides.

    Attributes:
        repository: OWNER/NAME.
        licence: of the weights, as the Hub abbreviates it.
        about: what the model is, in the publisher's words.
        with_speakers: whether the names of the training's speakers are published.

    Raises:
        TidyVoiceError: one of the first two is written otherwise than the Hub does.
    """

    repository: str
    licence: str
    about: str = ""
    with_speakers: bool = False

    def __post_init__(self) -> None:
        if not REPOSITORY.fullmatch(self.repository):
            raise TidyVoiceError(f"{self.repository}: no id of a repository; write OWNER/NAME")
        if not LICENCE.fullmatch(self.licence):
            raise TidyVoiceError(
                f"--licence {self.licence!r}: write it as the Hub does (apache-2.0, cc-by-4.0), or "
                "other"
            )


def gather(
    source: str | Path,
    scores: Sequence[str] = (),
    utt2lang: Sequence[Path] = (),
    utt2spk: Sequence[Path] = (),
    resamples: int = 1000,
) -> Facts:
    """Read a model with all that is known of it.

    Args:
        source: an experiment, or a model folder; one called ``models`` belongs to the experiment
            above it.
        scores: which score files of the experiment to report; those of ``USUAL`` that are there.
        utt2lang, utt2spk: of their utterances; else read off the ids.
        resamples: of the speakers, for confidence intervals; 0 for none.

    Raises:
        TidyVoiceError: it is no model; a score file is missing, faulty, without labels, of several
            systems or of another model.
    """
    above = Path(source)
    experiment = read_experiment(above)
    files = model_files(source)
    folder = files.folder
    if experiment is None:
        above, experiment = experiment_of(folder)
    encoder = SpeakerEncoder.from_pretrained(folder, "cpu")
    network = _network(files.config)
    if experiment is None:
        if scores:
            raise TidyVoiceError(f"--scores {scores[0]}: {source} is no experiment; leave it out")
        return Facts(encoder, network, (), source_of(folder), (), (folder,))
    trainings, origin = trainings_of(above, experiment)
    names = scores or [name for name in USUAL if name in experiment.scores]
    made = (_evaluate(above, name, encoder.weights, utt2lang, utt2spk, resamples) for name in names)
    return Facts(encoder, network, trainings, origin, tuple(made), (folder, above))


def _network(path: Path) -> ModelSettings:
    name, args = network_of(read_config(path), path)
    return ModelSettings(name=name, args=args)


def _evaluate(
    experiment: Path,
    name: str,
    weights: str,
    utt2lang: Sequence[Path],
    utt2spk: Sequence[Path],
    resamples: int,
) -> Evaluation:
    system = load_system(experiment, name, name, utt2lang, utt2spk)
    result = examine(system, OPERATING_POINTS, resamples, main=False)
    steps = result.lineage.steps
    if any(step.step == "fusion" for step in steps):
        raise TidyVoiceError(
            f"{system.scores_path} is a fusion of several systems, no result of this model alone"
        )
    sources = [source for step in steps if step.step == "cosine" for source in step.inputs]
    tables = [source for source in sources if source.role == "embeddings"]
    sure = [_is_of(table, weights, system.scores_path) for table in tables]
    return Evaluation(name, result, bool(sure) and all(sure))


def _is_of(table: provenance.Source, weights: str, scores: Path) -> bool:
    """Whether the embeddings that were scored are known to be of these weights.

    Raises:
        TidyVoiceError: they are of others.
    """
    if not Path(table.path).is_file() or sha256(table.path) != table.sha256:
        return False
    model = load_embeddings(table.path).model
    if model not in (None, weights):
        raise TidyVoiceError(
            f"{scores} was made with embeddings of another model than this: extract and score again"
        )
    return model is not None
