"""What a report shows of one system."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tidyvoice.errors import TidyVoiceError
from tidyvoice.evaluation.bootstrap import Resampled, resample, with_intervals
from tidyvoice.evaluation.categories import POOLED, Row, category_scores, row_of
from tidyvoice.evaluation.labels import read_labelled
from tidyvoice.evaluation.languages import LanguageRow, by_language
from tidyvoice.report import curves
from tidyvoice.report.curves import BayesError, CostCurve, DetCurve, Reliability
from tidyvoice.report.hardest import HardSpeaker, HardTrial, hardest_speakers, hardest_trials
from tidyvoice.report.training_log import TrainingLog, read_log
from tidyvoice.scoring.groups import (
    Groups,
    languages_of,
    read_maps,
    speakers_of,
)
from tidyvoice.scoring.lineage import Lineage, read_lineage
from tidyvoice.scoring.metrics import Costs, error_rates
from tidyvoice.scoring.trials import checksum

Paths = str | Path | Sequence[str | Path] | None


@dataclass(frozen=True)
class System:
    """A system to report on: its scores, and where known its experiment, languages, speakers.

    ``key_path`` is a trial list that gives the labels where the score file has none.
    """

    name: str
    scores_path: Path
    experiment_path: Path | None = None
    utt2lang_paths: tuple[Path, ...] = ()
    utt2spk_paths: tuple[Path, ...] = ()
    key_path: Path | None = None


@dataclass
class SystemResult:
    """What is kept of a system once its scores have been read.

    Attributes:
        rows: metrics of all trials and of the four categories, with intervals where the speakers
            are known.
        checksum: SHA-256 of the trials.
        languages, speakers: of the ids; None where they are not known.
        threshold: the score at which the EER lies.
        edges: score [B + 1], common to the histograms.
        histograms: by kind of trial, such as "target, same language": density [B].
        det, costs: by category; those without trials are absent.
        reliability: None unless the scores are log-likelihood ratios.
        resampled: by category; empty where the speakers are not known.
        by_language, by_pair: empty where the languages are not known; of the main system only, as
            what is hardest.
    """

    name: str
    scores_path: Path
    experiment_path: Path | None
    rows: list[Row]
    checksum: str
    languages: Groups | None
    speakers: Groups | None
    lineage: Lineage
    threshold: float
    edges: np.ndarray
    histograms: dict[str, np.ndarray]
    bayes_error: BayesError
    key_path: Path | None = None
    reliability: Reliability | None = None
    det: dict[str, DetCurve] = field(default_factory=dict)
    costs: dict[str, CostCurve] = field(default_factory=dict)
    resampled: dict[str, Resampled] = field(default_factory=dict)
    by_language: list[LanguageRow] = field(default_factory=list)
    by_pair: list[LanguageRow] = field(default_factory=list)
    hard_speakers: list[HardSpeaker] = field(default_factory=list)
    hard_targets: list[HardTrial] = field(default_factory=list)
    hard_nontargets: list[HardTrial] = field(default_factory=list)
    log: TrainingLog | None = None

    @property
    def calibrated(self) -> bool:
        """Whether the scores are known to be log-likelihood ratios."""
        return self.lineage.calibrated


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
        name: how the report calls the system; by default the folder's name, and the file's.
        utt2lang: one file or several with the languages; by default ``experiment/utt2lang`` if
            there is one, else the ids tell.
        utt2spk: the same with the speakers.

    Raises:
        TidyVoiceError: no such score file.
    """
    path = Path(experiment)
    folder: Path | None = path
    if path.is_file():
        folder = path.parent.parent if path.parent.name == "scores" else None
        named = path.name.removesuffix(".gz").removesuffix(".score")
        default = f"{folder.resolve().name}, {named}" if folder else named
    else:
        if not folder.is_dir():
            raise TidyVoiceError(f"{folder}: no such experiment folder or score file")
        path, default = _score_file(folder, scores), folder.resolve().name
    return System(
        name or default,
        path,
        folder,
        _maps(utt2lang, folder and folder / "utt2lang"),
        _maps(utt2spk, folder and folder / "utt2spk"),
    )


def training_log(experiment: Path) -> Path:
    """Where an experiment keeps it."""
    return Path(experiment) / "log" / "train.jsonl"


def _score_file(folder: Path, scores: str) -> Path:
    for ending in (".score", ".score.gz"):
        if (path := folder / "scores" / f"{scores}{ending}").is_file():
            return path
    there = sorted(path.name for path in folder.glob("scores/*.score*"))
    there = [name for name in there if name.endswith((".score", ".gz")) and name[0] != "."]
    have = f"there are: {', '.join(there)}" if there else "run `tidyvoice score` first"
    raise TidyVoiceError(f"{folder / 'scores'}: no score file '{scores}.score'; {have}")


def _maps(given: Paths, beside: Path | None) -> tuple[Path, ...]:
    if given:
        return (Path(given),) if isinstance(given, str | Path) else tuple(map(Path, given))
    return (beside,) if beside is not None and beside.is_file() else ()


def examine(
    system: System,
    points: Sequence[Costs],
    resamples: int = 0,
    seed: int = 1,
    main: bool = True,
) -> SystemResult:
    """Read a system's scores and training log, and keep what the report shows.

    Args:
        points: priors and costs; curves of the cost show the first.
        resamples: of the speakers, for confidence intervals; 0 for none.
        main: whether languages, speakers and trials are looked at one by one.

    Raises:
        TidyVoiceError: the score file is missing, faulty or without labels, an utterance has no
            language or no speaker, or the speakers contradict the labels.
    """
    table = read_labelled(system.scores_path, system.key_path)
    lineage = read_lineage(system.scores_path)
    languages = languages_of(table.trials, read_maps(system.utt2lang_paths, "language"))
    speakers = speakers_of(table.trials, read_maps(system.utt2spk_paths, "speaker"))
    rows, found = [], {"det": {}, "costs": {}}
    for category, targets, nontargets, scores in category_scores(table, languages):
        if scores is None:
            rows.append(Row(category, targets, nontargets))
            continue
        rows.append(row_of(category, scores, points))
        rates = error_rates(scores)
        found["det"][category] = curves.det_curve(rates, rows[-1].eer)
        found["costs"][category] = curves.cost_curve(scores, rates, points[0])
        if category == POOLED:
            found["threshold"] = curves.eer_threshold(scores, rates)
            found["bayes_error"] = curves.bayes_error(scores, rates, lineage.calibrated)
            found["reliability"] = curves.reliability(scores) if lineage.calibrated else None
    if speakers is not None and resamples:
        found["resampled"] = resample(table, languages, speakers, points, resamples, seed)
        rows = with_intervals(rows, found["resampled"])
    found["edges"], found["histograms"] = curves.histograms(table, languages)
    if main:
        if languages is not None:
            found["by_language"], found["by_pair"] = by_language(table, languages, points[0])
        if speakers is not None:
            found["hard_speakers"] = hardest_speakers(
                table, speakers, languages, found["threshold"]
            )
        found["hard_targets"], found["hard_nontargets"] = hardest_trials(table, languages)
    if system.experiment_path is not None:
        found["log"] = read_log(training_log(system.experiment_path))
    return SystemResult(
        name=system.name,
        scores_path=Path(system.scores_path),
        experiment_path=system.experiment_path,
        rows=rows,
        checksum=checksum(table.trials),
        languages=languages,
        speakers=speakers,
        lineage=lineage,
        key_path=system.key_path,
        **found,
    )
