"""The systems of a report: where their scores are, and what the page draws of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tidyvoice.errors import TidyVoiceError
from tidyvoice.evaluation.categories import POOLED, category_scores
from tidyvoice.evaluation.evaluate import Evaluation, ScoreFile, evaluate
from tidyvoice.evaluation.tables import Table
from tidyvoice.report import curves
from tidyvoice.report.curves import BayesError, CostCurve, DetCurve, Reliability
from tidyvoice.report.hardest import hardest_speakers, hardest_trials
from tidyvoice.report.training_log import TrainingLog, log_path, read_log
from tidyvoice.scoring.metrics import error_rates

Paths = str | Path | Sequence[str | Path] | None


@dataclass(frozen=True)
class System:
    """A system to report on: its name, its scores, and where known its experiment folder."""

    name: str
    file: ScoreFile
    experiment: Path | None = None


@dataclass
class SystemFigures:
    """Figures of a system for the page, thinned so that the page stays small.

    Attributes:
        threshold: the score at the EER.
        edges: of the histograms' bins, float64 [B + 1].
        histograms: density [B] by kind of trial, such as "target, same language".
        det, costs: by category; categories without trials of both kinds are absent.
        reliability: None unless the scores are log-likelihood ratios.
        hard_speakers, hard_trials: of the main system only; the trials are targets and
            non-targets.
        log: of the training, where there is one.
    """

    name: str
    file: ScoreFile
    evaluation: Evaluation
    experiment: Path | None
    threshold: float
    edges: np.ndarray
    histograms: dict[str, np.ndarray]
    bayes_error: BayesError
    reliability: Reliability | None
    det: dict[str, DetCurve]
    costs: dict[str, CostCurve]
    log: TrainingLog | None
    hard_speakers: Table | None = None
    hard_trials: tuple[Table, Table] | None = None


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
    else:
        if not folder.is_dir():
            raise TidyVoiceError(f"{folder}: no such experiment folder or score file")
        path, default = _score_file(folder, scores), folder.resolve().name
    maps = (_maps(utt2lang, folder, "utt2lang"), _maps(utt2spk, folder, "utt2spk"))
    return System(name or default, ScoreFile(path, None, *maps), folder)


def _score_file(folder: Path, scores: str) -> Path:
    for ending in (".score", ".score.gz"):
        if (path := folder / "scores" / f"{scores}{ending}").is_file():
            return path
    names = sorted(path.name for path in folder.glob("scores/*.score*"))
    names = [name for name in names if name.endswith((".score", ".gz")) and name[0] != "."]
    hint = f"there are: {', '.join(names)}" if names else "run `tidyvoice score` first"
    raise TidyVoiceError(f"{folder / 'scores'}: no score file '{scores}.score'; {hint}")


def _maps(paths: Paths, folder: Path | None, name: str) -> tuple[Path, ...]:
    if paths:
        return (Path(paths),) if isinstance(paths, str | Path) else tuple(map(Path, paths))
    return (folder / name,) if folder is not None and (folder / name).is_file() else ()


def draw(system: System, resamples: int = 0, main: bool = True) -> SystemFigures:
    """Evaluate a system and compute what the page draws of it.

    Args:
        resamples: of the speakers, for confidence intervals; 0 for none.
        main: True to look for the hardest speakers and trials.

    Raises:
        TidyVoiceError: see ``evaluate.evaluate``.
    """
    loaded = system.file.load()
    table, languages, speakers = loaded.table, loaded.languages, loaded.speakers
    evaluation = evaluate(system.file, resamples=resamples, loaded=loaded)
    calibrated = evaluation.calibrated
    det, costs = {}, {}
    for category, _, _, scores in category_scores(table, languages):
        if scores is None:
            continue
        rates = error_rates(scores)
        det[category] = curves.det_curve(rates, evaluation.row(category).eer)
        costs[category] = curves.cost_curve(scores, rates, evaluation.points[0])
        if category == POOLED:
            threshold = curves.eer_threshold(scores, rates)
            bayes_error = curves.bayes_error(scores, rates, calibrated)
            reliability = curves.reliability(scores) if calibrated else None
    edges, histograms = curves.histograms(table, languages)
    figures = SystemFigures(
        name=system.name,
        file=system.file,
        evaluation=evaluation,
        experiment=system.experiment,
        threshold=threshold,
        edges=edges,
        histograms=histograms,
        bayes_error=bayes_error,
        reliability=reliability,
        det=det,
        costs=costs,
        log=read_log(log_path(system.experiment)) if system.experiment else None,
    )
    if main:
        figures.hard_trials = hardest_trials(table, languages)
        if speakers is not None:
            figures.hard_speakers = hardest_speakers(table, speakers, languages, threshold)
    return figures
