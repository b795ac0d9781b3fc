"""What is known of a model: how it was trained, on what, and how good it was found to be."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tidyvoice.config import ModelSettings
from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.errors import TidyVoiceError
from tidyvoice.evaluation.evaluate import Evaluation as Metrics
from tidyvoice.evaluation.evaluate import evaluate
from tidyvoice.files import sha256
from tidyvoice.modelhub.folder import REPOSITORY, model_files
from tidyvoice.modelhub.wespeaker import network_of, read_config
from tidyvoice.publish.training import Training, experiment_of, source_of, trainings_of
from tidyvoice.released import Source
from tidyvoice.report import load_system
from tidyvoice.runs import USUAL, read_experiment
from tidyvoice.scoring.embeddings import load_embeddings

LICENCE = re.compile(r"[a-z0-9][a-z0-9.-]*")
INPUT = re.compile(r"(.+) \(sha256 ([0-9a-f]{64})\)")


@dataclass(frozen=True)
class Evaluation:
    """How good the model was on one list.

    Attributes:
        name, path: of its score file.
        sure: whether the scores are known to be made with embeddings of these very weights.
    """

    name: str
    path: Path
    result: Metrics
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
    result = evaluate(system.file, resamples=resamples)
    steps = result.lineage.steps
    if any(step.step == "fusion" for step in steps):
        raise TidyVoiceError(
            f"{system.file.path} is a fusion of several systems, no result of this model alone"
        )
    made_from = [step.inputs for step in steps if step.step == "cosine"]
    sure = [_is_of(inputs, weights, system.file.path) for inputs in made_from]
    return Evaluation(name, system.file.path, result, bool(sure) and all(sure))


def _is_of(inputs: dict[str, str], weights: str, scores: Path) -> bool:
    """Whether the embeddings that were scored are known to be of these weights.

    Raises:
        TidyVoiceError: they are of others.
    """
    named = INPUT.fullmatch(inputs.get("embeddings", ""))
    if named is None or not Path(named[1]).is_file() or sha256(named[1]) != named[2]:
        return False
    model = load_embeddings(named[1]).model
    if model not in (None, weights):
        raise TidyVoiceError(
            f"{scores} was made with embeddings of another model than this: extract and score again"
        )
    return model is not None
