"""The systems of a report: where their scores are, and what the page shows of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tidyvoice.errors import TidyVoiceError
from tidyvoice.evaluation.categories import POOLED, category_scores
from tidyvoice.evaluation.evaluate import Evaluation, ScoreFile, evaluate
from tidyvoice.report import curves, figures
from tidyvoice.report.drawing import Picture
from tidyvoice.report.hardest import hardest_speakers, hardest_trials
from tidyvoice.report.matrix import matrix_picture
from tidyvoice.report.training_log import TrainingLog, log_path, read_log
from tidyvoice.scoring.metrics import ErrorRates, error_rates

Paths = str | Path | Sequence[str | Path] | None


@dataclass(frozen=True)
class System:
    """A system to report on: its name, its scores, and where known its experiment folder."""

    name: str
    file: ScoreFile
    experiment: Path | None = None


def load_system(
    experiment: str | Path,
    scores: str = "dev",
    name: str | None = None,
    utt2lang: Paths = None,
    utt2spk: Paths = None,
) -> System:
    """Find the scores of an experiment folder.

    Args:
        experiment: a folder with ``scores/{scores}.score`` or ``.score.gz``, or one such file.
        scores: which score file, without its ending.
        name: name of the system; by default that of the folder, followed by that of the file if
            ``experiment`` is a file.
        utt2lang, utt2spk: files with languages and speakers; by default those in the experiment
            folder if they exist, else the ids tell.

    Raises:
        TidyVoiceError: no such score file.
    """
    path = Path(experiment)
    folder: Path | None = path
    if path.is_file():
        folder = path.parent.parent if path.parent.name == "scores" else None
        file_name = path.name.removesuffix(".gz").removesuffix(".score")
        default = f"{folder.resolve().name}, {file_name}" if folder else file_name
    elif path.is_dir():
        path, default = _score_file(path, scores), path.resolve().name
    else:
        raise TidyVoiceError(f"{path}: no such experiment folder or score file")
    maps = []
    for paths, table in ((utt2lang, "utt2lang"), (utt2spk, "utt2spk")):
        if not paths:
            paths = [folder / table] if folder and (folder / table).is_file() else []
        maps.append(tuple(map(Path, [paths] if isinstance(paths, str | Path) else paths)))
    return System(name or default, ScoreFile(path, None, *maps), folder)


def _score_file(folder: Path, scores: str) -> Path:
    for ending in (".score", ".score.gz"):
        if (path := folder / "scores" / f"{scores}{ending}").is_file():
            return path
    endings = ("*.score", "*.score.gz")
    names = sorted(path.name for ending in endings for path in folder.glob(f"scores/{ending}"))
    hint = f"there are: {', '.join(names)}" if names else "run `tidyvoice score` first"
    raise TidyVoiceError(f"{folder / 'scores'}: no score file '{scores}.score'; {hint}")


class Result(NamedTuple):
    """What the page shows of a system.

    Attributes:
        rates: of all trials.
        bayes_error, reliability: see ``curves``; without actual costs and None unless the scores
            are log-likelihood ratios.
        scores: the figure of the score densities.
        details: of the main system only, by name in the template.
    """

    name: str
    system: System
    evaluation: Evaluation
    rates: ErrorRates
    bayes_error: tuple[np.ndarray, np.ndarray | None]
    reliability: tuple[np.ndarray, np.ndarray, np.ndarray] | None
    scores: Picture
    log: TrainingLog | None
    details: dict[str, object]


def evaluate_system(system: System, name: str, number: int, resamples: int) -> Result:
    """Evaluate a system, and compute what the page shows of it.

    Args:
        name: of the system on the page.
        number: its place on the page; 1 is the main system.
        resamples: of the speakers, for confidence intervals; 0 for none.

    Raises:
        TidyVoiceError: see ``evaluate.evaluate``.
    """
    table, languages, speakers = loaded = system.file.load()
    evaluation = evaluate(system.file, resamples=resamples, loaded=loaded)
    calibrated, at = evaluation.calibrated, evaluation.points[0]
    det, costs = {}, {}
    for category, scores in category_scores(table, languages):
        if not all(map(len, scores)):
            continue
        label = "all trials" if category == POOLED else category
        rates = det[label] = error_rates(scores)
        costs[label] = curves.cost_curve(scores, rates, at)
        if category == POOLED:
            threshold = curves.eer_threshold(rates)
            minimum, actual = curves.bayes_error(scores, rates)
            bins = curves.reliability(scores) if calibrated else None
        if number > 1:
            break
    densities = curves.histograms(table, languages)
    file_name = "scores" if number == 1 else f"scores-{number}"
    scores_picture = figures.histogram_picture(
        file_name, f"Scores of {name}", *densities, threshold
    )
    details: dict[str, object] = {}
    if number == 1:
        details["threshold"] = threshold
        details["det"] = figures.det_picture("det", f"DET curves of {name}", det)
        details["cost"] = figures.cost_picture(
            "cost", f"Cost of {name} by threshold", costs, at.threshold if calibrated else None
        )
        details["matrix"] = evaluation.languages and matrix_picture(
            "languages-matrix",
            f"EER of {name} by pair of languages",
            [row.languages[0] for row in evaluation.languages],
            evaluation.pairs,
        )
        details["hard_trials"] = hardest_trials(table, languages)
        details["hard_speakers"] = speakers and hardest_speakers(
            table, speakers, languages, threshold
        )
    log = read_log(log_path(system.experiment)) if system.experiment else None
    bayes_error = minimum, actual if calibrated else None
    return Result(
        name, system, evaluation, det["all trials"], bayes_error, bins, scores_picture, log, details
    )
