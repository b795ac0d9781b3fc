"""The evaluation of a score file, computed once and kept beside it.

``NAME.metrics.json`` holds the SHA-256 of everything that the metrics were computed from, of the
code, and of its own content. It is read back only while all of these are the same.
"""

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import TypeAdapter, ValidationError

from tidyvoice.errors import TidyVoiceError, TidyVoiceWarning
from tidyvoice.evaluation import categories
from tidyvoice.evaluation.bootstrap import Resampled, interval, resample, with_intervals
from tidyvoice.evaluation.categories import OPERATING_POINTS, POOLED, Interval, LanguageRow, Row
from tidyvoice.files import sha256, source_hash, write_text
from tidyvoice.scoring.groups import Groups, languages_of, read_maps, speakers_of
from tidyvoice.scoring.lineage import Lineage, lineage_path, read_lineage
from tidyvoice.scoring.metrics import Costs
from tidyvoice.scoring.trials import ScoreTable, checksum, read_labelled
from tidyvoice.settings import LARGEST_JSON

LEAST = 100  # resamples; with fewer, an end of the interval is a single resample


class Loaded(NamedTuple):
    """Labelled scores, and where known the language and the speaker of each id."""

    table: ScoreTable
    languages: Groups | None
    speakers: Groups | None


@dataclass(frozen=True)
class ScoreFile:
    """A score file, and the files with the labels, languages and speakers of its trials.

    By default the score file has the labels, and the ids contain languages and speakers.
    """

    path: Path
    trials: Path | None = None
    utt2lang: tuple[Path, ...] = ()
    utt2spk: tuple[Path, ...] = ()

    @property
    def name(self) -> str:
        """The name of the file without its ending."""
        return self.path.name.removesuffix(".gz").removesuffix(".score")

    def load(self) -> Loaded:
        """Read the scores, and the languages and speakers of their ids."""
        table = read_labelled(self.path, self.trials)
        languages = languages_of(table.trials, read_maps(self.utt2lang, "language"))
        return Loaded(
            table, languages, speakers_of(table.trials, read_maps(self.utt2spk, "speaker"))
        )

    def files(self) -> dict[str, tuple[Path, ...]]:
        """Return the files that an evaluation depends on, by role."""
        return {
            "scores": (self.path,),
            "lineage": (lineage_path(self.path),),
            "trials": (self.trials,) if self.trials else (),
            "utt2lang": self.utt2lang,
            "utt2spk": self.utt2spk,
        }


class Draws(NamedTuple):
    """Metrics in R resamples of the speakers: EERs by category, minDCFs by operating point.

    ``speakers`` is the SHA-256 of the speakers of the ids, the same for systems whose draws pair.
    """

    speakers: str
    eer: dict[str, tuple[float | None, ...]]
    min_dcf: tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True)
class Difference:
    """One system's metric minus the main one's, with the paired interval where it is known."""

    value: float
    interval: Interval | None = None


@dataclass(frozen=True)
class Differences:
    """One system's EER by category and minDCF by operating point, minus those of the main one."""

    eer: dict[str, Difference | None]
    min_dcf: tuple[Difference, ...]


@dataclass(frozen=True)
class Evaluation:
    """Everything that is measured of a score file.

    Attributes:
        inputs, trials: SHA-256 of the code and the files by role, and of the trial list.
        speakers: their number; None where they are not known.
        resamples: of the speakers, for the confidence intervals; 0 for none.
        categories: metrics of all trials, then of the four categories.
        languages, pairs: metrics by language and by pair of languages at the first operating
            point; empty where the languages are not known.
        draws: None without resamples, and where the speakers are not known.
    """

    inputs: dict[str, str]
    trials: str
    speakers: int | None
    resamples: int
    lineage: Lineage
    categories: tuple[Row, ...]
    languages: tuple[LanguageRow, ...]
    pairs: tuple[LanguageRow, ...]
    draws: Draws | None

    @property
    def pooled(self) -> Row:
        """The metrics of all trials."""
        return self.categories[0]

    @property
    def points(self) -> tuple[Costs, ...]:
        """The operating points of the detection costs."""
        return tuple(point.costs for point in self.pooled.points)

    def row(self, category: str) -> Row:
        """Return the metrics of one category."""
        return next(row for row in self.categories if row.category == category)

    def minus(self, main: "Evaluation") -> Differences | None:
        """Subtract the metrics of ``main``; None if its trials are others.

        Intervals are paired: resample r drew the same speakers for both systems.
        """
        if main.trials != self.trials:
            return None
        left, right = main.draws, self.draws
        if left is None or right is None or left.speakers != right.speakers:
            left = right = Draws("", {}, ((),) * len(main.points))
        eer = {}
        for first, second in zip(main.categories, self.categories, strict=True):
            draws = left.eer.get(first.category, ()), right.eer.get(first.category, ())
            eer[first.category] = _difference(first.eer, second.eer, *draws)
        costs = ([point.min_dcf for point in item.pooled.points] for item in (main, self))
        pairs = zip(*costs, left.min_dcf, right.min_dcf, strict=True)
        return Differences(eer, tuple(_difference(*pair) for pair in pairs))

    def to_json(self) -> dict[str, Any]:
        """Return the metrics for JSON: rates as fractions, null for what is not available."""
        rows = self.categories
        return {
            "categories": [asdict(r) | {"min_dcf": r.min_dcf, "act_dcf": r.act_dcf} for r in rows],
            "languages": [asdict(row) for row in self.languages],
            "pairs": [asdict(row) for row in self.pairs],
            "speakers": self.speakers,
            "trials": self.trials,
            "resamples": self.resamples,
            "calibrated": self.lineage.calibrated,
            **self.lineage.to_json(),
        }


_JSON = TypeAdapter(Evaluation)
_HEAD = '{{"sha256":"{}",'  # of the file; the checksum is that of all other bytes


def evaluate(
    file: ScoreFile,
    points: Sequence[Costs] = OPERATING_POINTS,
    resamples: int = 0,
    loaded: Loaded | None = None,
) -> Evaluation:
    """Return the evaluation of a score file, read back from ``NAME.metrics.json`` if it holds.

    Args:
        points: priors and costs. Only evaluations at the usual points are kept.
        resamples: of the speakers, for 95 % confidence intervals; 0 for none.
        loaded: what ``file.load()`` returned, if it was called already.
    """
    if 0 < resamples < LEAST:
        fix = f"give {LEAST} or more, or 0"
        raise TidyVoiceError(f"{resamples} resamples are too few for 95 % intervals: {fix}")
    path = file.path.with_name(f"{file.name}.metrics.json")
    usual = tuple(points) == OPERATING_POINTS and file.path.is_file()
    kept = _read(path) if usual else None
    inputs, lineage = _checksums(file), read_lineage(file.path)
    if kept and kept.inputs == inputs and resamples in (0, kept.resamples):
        rows, draws = kept.categories, kept.draws
        if not resamples:
            rows, draws = tuple(with_intervals(rows, {})), None
        _warn_if_inverted(file.path, rows[0].eer)
        return replace(kept, lineage=lineage, categories=rows, resamples=resamples, draws=draws)
    table, groups, speakers = loaded or file.load()
    rows, draws = categories.evaluate(table, groups, points), None
    _warn_if_inverted(file.path, rows[0].eer)
    single, pairs = categories.by_language(table, groups, points[0]) if groups else ((), ())
    if resamples and speakers:
        resampled = resample(table, groups, speakers, points, resamples)
        rows, draws = with_intervals(rows, resampled), _draws(resampled, speakers)
    number, trials = len(speakers.names) if speakers else None, checksum(table.trials)
    results = tuple(rows), tuple(single), tuple(pairs), draws
    evaluation = Evaluation(inputs, trials, number, resamples, lineage, *results)
    if usual:
        _keep(path, evaluation)
    return evaluation


def _difference(
    first: float | None, second: float | None, left: Sequence, right: Sequence
) -> Difference | None:
    """Subtract ``first`` from ``second``, and their values in R resamples if both are known."""
    if first is None or second is None:
        return None
    between = None
    if left and right:
        between = interval(np.array(right, dtype=float) - np.array(left, dtype=float))
    return Difference(second - first, between)


def _warn_if_inverted(path: Path, eer: float) -> None:
    if eer > 0.5:
        text = f"the EER is {eer:.2%}: negate the scores, or check the labels"
        warnings.warn(f"{path}: {text}", TidyVoiceWarning, stacklevel=3)


def _draws(resampled: dict[str, Resampled], speakers: Groups) -> Draws:
    digest = hashlib.sha256("\n".join(speakers.names).encode())
    digest.update(np.ascontiguousarray(speakers.codes, dtype=np.int64).tobytes())
    eers = {category: tuple(values.eer.tolist()) for category, values in resampled.items()}
    return Draws(digest.hexdigest(), eers, tuple(map(tuple, resampled[POOLED].min_dcf.tolist())))


def _checksums(file: ScoreFile) -> dict[str, str]:
    """Return the SHA-256 of the files that exist, by role, and of the code."""
    sums = {role: [sha256(p) for p in paths if p.is_file()] for role, paths in file.files().items()}
    by_role = {role: " ".join(values) for role, values in sums.items() if values}
    return {"code": source_hash(), **by_role}


def _read(path: Path) -> Evaluation | None:
    """Return a kept evaluation; None if there is none or a byte of it has changed."""
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST_JSON)
        rest = content[len(_sealed(b"")) :]
        return _JSON.validate_json(b"{" + rest) if content == _sealed(rest) else None
    except (OSError, ValidationError):  # validation fails for the file of another version
        return None


def _sealed(content: bytes) -> bytes:
    """Return the bytes of a file from those after its checksum."""
    return _HEAD.format(hashlib.sha256(content).hexdigest()).encode() + content


def _keep(path: Path, evaluation: Evaluation) -> None:
    """Write an evaluation; a file that is not one of any version is left alone."""
    try:
        # One of the two marks is left in a file that was cut.
        marks, older = (b'{"sha256":', b'"min_cllr":'), path.read_bytes() if path.exists() else None
        if older is None or any(mark in older for mark in marks):
            content = _JSON.dump_json(evaluation) + b"\n"
            write_text(path, _sealed(content.removeprefix(b"{")).decode())
            return
        problem = f"{path} is another kind of file; move it away"
    except OSError as error:
        # The experiments of others can be evaluated too.
        problem = f"{path.parent}: {error.strerror}"
    warnings.warn(f"{problem}: the evaluation is not kept", TidyVoiceWarning, stacklevel=3)
