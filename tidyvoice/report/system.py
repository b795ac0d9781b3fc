"""The systems of a report: where their scores are, and what the page shows of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tidyvoice.errors import TidyVoiceError
from tidyvoice.evaluation.categories import category_scores
from tidyvoice.evaluation.evaluate import Evaluation, ScoreFile, evaluate
from tidyvoice.report import curves, figures
from tidyvoice.report.drawing import Picture
from tidyvoice.report.hardest import hardest_speakers, hardest_trials
from tidyvoice.report.matrix import matrix_picture
from tidyvoice.report.training_log import TrainingLog, log_path, read_log
from tidyvoice.scoring.metrics import ErrorRates, error_rates


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
    utt2lang: Sequence[Path] = (),
    utt2spk: Sequence[Path] = (),
) -> System:
    """Find the scores of an experiment folder, or take one score file.

    Names and tables of languages and speakers are by default those of the folder.
    """
    path = Path(experiment)
    folder: Path | None = path
    if path.is_file():
        folder = path.parent.parent if path.parent.name == "scores" else None
        file_name = ScoreFile(path).name
        default = f"{folder.resolve().name}, {file_name}" if folder else file_name
    elif path.is_dir():
        files, default = score_files(path), path.resolve().name
        wanted = scores.removesuffix(".gz").removesuffix(".score")
        if wanted not in files:
            hint = f"there are: {', '.join(files)}" if files else "run `tidyvoice score` first"
            raise TidyVoiceError(f"{path / 'scores'}: no score file '{wanted}.score'; {hint}")
        path = files[wanted]
    else:
        raise TidyVoiceError(f"{path}: no such experiment folder or score file")
    if folder and not utt2lang and (folder / "utt2lang").is_file():
        utt2lang = [folder / "utt2lang"]
    if folder and not utt2spk and (folder / "utt2spk").is_file():
        utt2spk = [folder / "utt2spk"]
    file = ScoreFile(path, None, tuple(utt2lang), tuple(utt2spk))
    return System(name or default, file, folder)


def score_files(experiment: Path) -> dict[str, Path]:
    """Return the score files of an experiment by name; a plain file replaces that of gzip."""
    folder, endings = experiment / "scores", ("*.score.gz", "*.score")
    return {ScoreFile(path).name: path for end in endings for path in sorted(folder.glob(end))}


class Result(NamedTuple):
    """Content of the page for one system; ``details`` are those of the main system only.

    Unless the scores are log-likelihood ratios, ``bayes_error`` has no actual costs and
    ``reliability`` is None.
    """

    name: str
    system: System
    evaluation: Evaluation
    log: TrainingLog | None
    training: list[Picture]
    scores: Picture
    rates: ErrorRates
    bayes_error: tuple[np.ndarray, np.ndarray | None]
    reliability: tuple[np.ndarray, np.ndarray, np.ndarray] | None
    details: dict[str, Any]


def evaluate_system(system: System, name: str, number: int, resamples: int) -> Result:
    """Evaluate a system, and compute what the page shows of it; number 1 is the main system."""
    table, languages, speakers = loaded = system.file.load()
    evaluation = evaluate(system.file, resamples=resamples, loaded=loaded)
    calibrated, at = evaluation.lineage.calibrated, evaluation.points[0]
    log = read_log(log_path(system.experiment)) if system.experiment else None
    categories = category_scores(table, languages)
    _, pooled = next(categories)
    rates = error_rates(pooled)
    minimum, actual = curves.bayes_error(pooled, rates)
    # Here the error rates are closest to each other.
    threshold = float(rates.thresholds[np.argmin(np.abs(rates.fnr - rates.fpr))])
    suffix = "" if number == 1 else f"-{number}"
    training = figures.training_pictures(f"training{suffix}", log) if log else []
    bins = curves.histograms(table, languages)
    densities = figures.histogram_picture(f"scores{suffix}", f"Scores of {name}", *bins, threshold)
    details: dict[str, Any] = {}
    if number == 1:
        parts = {category: side for category, side in categories if all(map(len, side))}
        det = {"all trials": rates} | {key: error_rates(part) for key, part in parts.items()}
        parts = {"all trials": pooled} | parts
        costs = {key: curves.cost_curve(part, det[key], at) for key, part in parts.items()}
        bayes = at.threshold if calibrated else None
        title = f"EER of {name} by pair of languages"
        details = {
            "threshold": threshold,
            "det": figures.det_picture("det", f"DET curves of {name}", det),
            "cost": figures.cost_picture("cost", f"Cost of {name} by threshold", costs, bayes),
            "matrix": matrix_picture("languages-matrix", title, evaluation) if languages else None,
            "hard_trials": hardest_trials(table, languages),
            "hard_speakers": speakers and hardest_speakers(table, speakers, languages, threshold),
        }
    errors = minimum, actual if calibrated else None
    shown = rates, errors, curves.reliability(pooled) if calibrated else None, details
    return Result(name, system, evaluation, log, training, densities, *shown)
