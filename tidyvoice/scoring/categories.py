"""Metrics by language: all trials, and four kinds of targets against non-targets.

A category is named "targets/non-targets": "different/same" sets target trials whose two sides are
in different languages against non-target trials in the same language, the hardest case, in which
the language speaks against the truth twice (TidyVoice evaluation plan, arXiv 2601.21960).
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tidyvoice.errors import TidyVoiceError
from tidyvoice.manifest import read_table
from tidyvoice.scoring.metrics import ErrorRates, eer_of, error_rates, min_dcf_of
from tidyvoice.scoring.trials import ScoreTable, Trials

POOLED = "all/all"
CATEGORIES = ("different/different", "different/same", "same/different", "same/same")
NOT_AVAILABLE = "n/a"
# Common Voice's codes: "en", "ckb", "zh-CN", "nan-tw". A video's id is none.
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")


@dataclass(frozen=True)
class Costs:
    """Prior and costs of the detection cost; the defaults are the challenge's."""

    p_target: float = 0.01
    c_miss: float = 1.0
    c_fa: float = 1.0


@dataclass(frozen=True)
class Row:
    """The metrics of one category.

    Attributes:
        category: one of ``CATEGORIES``, or ``POOLED``.
        targets, nontargets: numbers of trials; None where the languages are not known.
        eer: a fraction; None without trials of both kinds.
        min_dcf: normalised; None without trials of both kinds.
    """

    category: str
    targets: int | None
    nontargets: int | None
    eer: float | None
    min_dcf: float | None


def read_utt2lang(path: str | Path) -> dict[str, str]:
    """Read ``utterance language``, one a line.

    Raises:
        TidyVoiceError: no such file, a line without two columns, or an utterance twice.
    """
    return dict(read_table(path, "language").iter_rows())


def languages_of(trials: Trials, utt2lang: Mapping[str, str] | None = None) -> np.ndarray | None:
    """The language of each of ``trials.ids``, as a number: int64 [U].

    Without ``utt2lang`` they are read from ids of the form speaker/LANGUAGE/file; None when not
    every id has it.

    Raises:
        TidyVoiceError: ``utt2lang`` lacks an id of the list, or ids collide without ``.wav``.
    """
    if utt2lang is not None:
        names = np.array(list(utt2lang.values()))
        codes = np.unique(names, return_inverse=True)[1]
        return codes[trials.places_in(list(utt2lang), "language")]
    parts = [utterance.split("/") for utterance in trials.ids]
    if not all(len(part) == 3 and _LANGUAGE.fullmatch(part[1]) for part in parts):
        return None
    return np.unique([part[1] for part in parts], return_inverse=True)[1]


def same_language(trials: Trials, languages: np.ndarray) -> np.ndarray:
    """Whether both sides of each trial are in the same language: bool [T]."""
    return languages[trials.enroll] == languages[trials.test]


def category_masks(label: np.ndarray, same: np.ndarray | None) -> dict[str, np.ndarray | None]:
    """The trials of ``POOLED`` and of each category: bool [T]; None if ``same`` is None."""
    masks: dict[str, np.ndarray | None] = {POOLED: np.ones(len(label), dtype=bool)}
    for category in CATEGORIES:
        targets, nontargets = (kind == "same" for kind in category.split("/"))
        masks[category] = (
            None if same is None else np.where(label, same == targets, same == nontargets)
        )
    return masks


def category_rates(
    table: ScoreTable, languages: np.ndarray | None
) -> Iterator[tuple[str, int | None, int | None, ErrorRates | None]]:
    """Category, numbers of targets and of non-targets, and error rates: ``POOLED``, then the four.

    The numbers are None where the languages are not known, the rates also where the trials are
    all of one kind.

    Raises:
        TidyVoiceError: the trials carry no labels, or are all of one kind.
    """
    label = table.trials.label
    if label is None:
        raise TidyVoiceError(
            f"{table.trials.source}: metrics need labels; score a list with 'target|nontarget'"
        )
    same = None if languages is None else same_language(table.trials, languages)
    for category, mask in category_masks(label, same).items():
        if mask is None:
            yield category, None, None, None
            continue
        targets = int(np.count_nonzero(label & mask))
        nontargets = int(np.count_nonzero(mask)) - targets
        known = category == POOLED or (targets and nontargets)
        rates = error_rates(table.scores[mask], label[mask]) if known else None
        yield category, targets, nontargets, rates


def evaluate(
    table: ScoreTable, languages: np.ndarray | None, costs: Costs | None = None
) -> list[Row]:
    """EER and minDCF of all trials and of the four categories: five rows, in this order.

    Args:
        table: T scored trials with labels.
        languages: see ``languages_of``; None leaves the categories n/a.
        costs: ``Costs()`` by default.

    Raises:
        TidyVoiceError: the trials carry no labels, or are all of one kind; a cost out of range.
    """
    return [
        row_of(category, targets, nontargets, rates, costs or Costs())
        for category, targets, nontargets, rates in category_rates(table, languages)
    ]


def row_of(
    category: str,
    targets: int | None,
    nontargets: int | None,
    rates: ErrorRates | None,
    costs: Costs,
) -> Row:
    """The row of one category; without rates its metrics are not available."""
    if rates is None:
        return Row(category, targets, nontargets, None, None)
    cost = min_dcf_of(rates, costs.p_target, costs.c_miss, costs.c_fa)
    return Row(category, targets, nontargets, eer_of(rates), cost)


def percent(rate: float | None) -> str:
    """A rate in percent, two decimals."""
    return NOT_AVAILABLE if rate is None else f"{100 * rate:.2f}"


def decimals(cost: float | None) -> str:
    """A detection cost, three decimals."""
    return NOT_AVAILABLE if cost is None else f"{cost:.3f}"


def count(number: int | None) -> str:
    """A number of trials, with separators."""
    return NOT_AVAILABLE if number is None else f"{number:,}"


def format_table(rows: Sequence[Row]) -> str:
    """The rows of one system as an aligned plain-text table."""
    head = ["targets/non-targets", "targets", "non-targets", "EER %", "minDCF"]
    return _align(
        [head]
        + [
            [r.category, count(r.targets), count(r.nontargets), percent(r.eer), decimals(r.min_dcf)]
            for r in rows
        ]
    )


def format_systems(systems: Mapping[str, Sequence[Row]]) -> str:
    """Several systems, one a line: EER % and minDCF of all trials, EER % of each category."""
    head = ["system", "EER %", "minDCF", *CATEGORIES]
    lines = [
        [name, percent(rows[0].eer), decimals(rows[0].min_dcf), *(percent(r.eer) for r in rows[1:])]
        for name, rows in systems.items()
    ]
    return _align([head, *lines])


def to_json(rows: Sequence[Row]) -> str:
    """The rows as JSON: a list of objects; EER as a fraction, null for what is not available."""
    return json.dumps([asdict(row) for row in rows], indent=2)


def _align(lines: Sequence[Sequence[str]]) -> str:
    """The first column to the left, the others to the right, a rule below the head."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [
        "  ".join(
            [line[0].ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        )
        for line in lines
    ]
    return "\n".join([text[0], "-" * len(text[0]), *text[1:]])
