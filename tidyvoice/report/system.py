"""What a report shows of one system: metrics, DET curves, histograms, training log."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy.special import ndtri

from tidyvoice.errors import TidyVoiceError
from tidyvoice.scoring.categories import (
    Costs,
    Row,
    category_rates,
    languages_of,
    read_utt2lang,
    row_of,
    same_language,
)
from tidyvoice.scoring.metrics import ErrorRates
from tidyvoice.scoring.trials import ScoreTable, checksum, read_scores

DET_POINTS = 300
BINS = 100
LOG_KEYS = ("loss", "accuracy", "lr", "margin")


@dataclass(frozen=True)
class System:
    """A system to report on: its scores, and where known its experiment and languages."""

    name: str
    scores_path: Path
    experiment_path: Path | None = None
    utt2lang_path: Path | None = None


@dataclass(frozen=True)
class DetCurve:
    """Operating points of one category, float [P] each, and its EER, a fraction."""

    fpr: np.ndarray
    fnr: np.ndarray
    eer: float


@dataclass(frozen=True)
class TrainingLog:
    """The logged steps, one array [S] a key, by iteration; and the lines that were no JSON."""

    iteration: np.ndarray
    values: dict[str, np.ndarray]
    unreadable: int


@dataclass
class SystemResult:
    """What is kept of a system once its scores have been read.

    Attributes:
        rows: metrics of all trials and of the four categories.
        det: by category; those without trials are absent.
        edges: score [BINS + 1], common to the histograms.
        histograms: by kind of trial, such as "target, same language": density [BINS].
    """

    name: str
    scores_path: Path
    rows: list[Row]
    checksum: str
    edges: np.ndarray
    histograms: dict[str, np.ndarray]
    det: dict[str, DetCurve] = field(default_factory=dict)
    log: TrainingLog | None = None


def load_system(
    experiment: str | Path,
    scores: str = "dev",
    name: str | None = None,
    utt2lang: str | Path | None = None,
) -> System:
    """Find the scores of an experiment folder.

    Args:
        experiment: a folder with ``scores/{scores}.score`` or ``.score.gz``.
        scores: which score file, without its ending.
        name: how the report calls the system; by default the folder's name.
        utt2lang: languages; by default ``experiment/utt2lang`` if there is one, else the ids tell.

    Raises:
        TidyVoiceError: no such score file; says which there are.
    """
    experiment = Path(experiment)
    folder = experiment / "scores"
    for ending in (".score", ".score.gz"):
        path = folder / f"{scores}{ending}"
        if path.is_file():
            break
    else:
        found = sorted(p.name.partition(".score")[0] for p in folder.glob("*.score*"))
        there = f"there are: {', '.join(found)}" if found else "run `tidyvoice score` first"
        raise TidyVoiceError(f"{folder}: no score file '{scores}.score'; {there}")
    if utt2lang is None and (experiment / "utt2lang").is_file():
        utt2lang = experiment / "utt2lang"
    return System(name or experiment.resolve().name, path, experiment, utt2lang and Path(utt2lang))


def examine(system: System, costs: Costs) -> SystemResult:
    """Read a system's scores and training log, and keep what the report shows.

    Raises:
        TidyVoiceError: the score file is missing, faulty or without labels, or an utterance has
            no language.
    """
    table = read_scores(system.scores_path)
    utt2lang = system.utt2lang_path and read_utt2lang(system.utt2lang_path)
    languages = languages_of(table.trials, utt2lang)
    rows, det = [], {}
    for category, targets, nontargets, rates in category_rates(table, languages):
        rows.append(row_of(category, targets, nontargets, rates, costs))
        if rates is not None:
            det[category] = det_curve(rates, rows[-1].eer)
    edges, histograms = _histograms(table, languages)
    log = None
    if system.experiment_path is not None:
        log = read_log(Path(system.experiment_path) / "log" / "train.jsonl")
    return SystemResult(
        system.name,
        Path(system.scores_path),
        rows,
        checksum(table.trials),
        edges,
        histograms,
        det,
        log,
    )


def det_curve(rates: ErrorRates, eer: float) -> DetCurve:
    """At most ``DET_POINTS`` operating points, evenly spaced on the probit axes.

    Rates of 0 and 1, which those axes do not have, are left out: without any error no point is
    left.
    """
    inside = (rates.fnr > 0) & (rates.fpr > 0) & (rates.fnr < 1) & (rates.fpr < 1)
    fnr, fpr = rates.fnr[inside], rates.fpr[inside]
    if len(fnr) > DET_POINTS:
        along = ndtri(fnr) - ndtri(fpr)  # grows from point to point
        chosen = np.searchsorted(along, np.linspace(along[0], along[-1], DET_POINTS))
        chosen = np.unique(chosen)
        fnr, fpr = fnr[chosen], fpr[chosen]
    return DetCurve(fpr, fnr, eer)


def read_log(path: str | Path) -> TrainingLog | None:
    """Read ``log/train.jsonl``; None if there is no such file or no step in it.

    A resumed run appends, so the last line of an iteration counts. A run that was killed may
    leave half a line: such lines are counted, not an error.
    """
    path = Path(path)
    if not path.is_file():
        return None
    steps, unreadable = {}, 0
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            step = json.loads(line)
            steps[int(step["iteration"])] = [float(step.get(key, np.nan)) for key in LOG_KEYS]
        except (ValueError, TypeError, KeyError, AttributeError):
            unreadable += 1
    if not steps:
        return None
    iteration = np.array(sorted(steps))
    columns = np.array([steps[i] for i in iteration]).T
    return TrainingLog(iteration, dict(zip(LOG_KEYS, columns, strict=True)), unreadable)


def _histograms(
    table: ScoreTable, languages: np.ndarray | None
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    label = table.trials.label
    kinds = {"target": label, "non-target": ~label}
    if languages is not None:
        same = same_language(table.trials, languages)
        kinds = {
            f"{kind}, {where}": mask & side
            for kind, mask in kinds.items()
            for where, side in (("same language", same), ("cross-language", ~same))
        }
    edges = np.histogram_bin_edges(table.scores, BINS)
    return edges, {
        kind: np.histogram(table.scores[mask], edges, density=True)[0]
        for kind, mask in kinds.items()
        if mask.any()
    }
