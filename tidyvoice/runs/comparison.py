"""Two experiments beside one another: what differs between them, and what between their results."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tidyvoice.evaluation.categories import OPERATING_POINTS, POOLED
from tidyvoice.evaluation.tables import align, decimals, percent
from tidyvoice.record import run_differences
from tidyvoice.report import comparison, load_system
from tidyvoice.report.comparison import Difference
from tidyvoice.report.system import SystemResult, examine
from tidyvoice.runs.experiments import Experiment, told
from tidyvoice.runs.listing import (
    NONE,
    Listing,
    begun_cell,
    list_experiments,
    other_lists_remark,
    progress_cells,
    setting_cell,
    star_of,
    star_remarks,
    to_row,
    value_cell,
)

CHECKSUM = re.compile("[0-9a-f]{32,}")
CHECKSUM_SHOWN = 12


@dataclass(frozen=True)
class Line:
    """One metric of both experiments.

    Attributes:
        scores: name of the score file.
        metric: "eer" or "min_dcf", fractions both.
        category: see ``scoring.categories``.
        values: of the first and of the second experiment, None where it is not known.
        difference: the second less the first; None unless both scored the same trials.
    """

    scores: str
    metric: str
    category: str
    values: tuple[float | None, float | None]
    difference: Difference | None = None


@dataclass(frozen=True)
class Comparison:
    """Two experiments, in the order in which they were given.

    Attributes:
        record: dotted keys of what their last runs differ in, and both values.
        resamples: of the speakers, that intervals were asked of.
        remarks: what must be known to read the lines.
    """

    listing: Listing
    record: dict[str, tuple[object, object]]
    lines: list[Line]
    resamples: int
    remarks: list[str]


def compare_experiments(
    first: Experiment,
    second: Experiment,
    every: bool = False,
    resamples: int = 1000,
    utt2spk: Sequence[Path] = (),
) -> Comparison:
    """Compare settings, records and results of two experiments.

    Differences between results on the same trials are those of the report: the same speakers are
    drawn for both.

    Args:
        every: all their score files, not only the usual ones.
        resamples: of the speakers, for 95 % intervals; 0 for none.
        utt2spk: speakers of the utterances; by default the ids tell.
    """
    both = [first, second]
    listing = replace(list_experiments(both, every), experiments=both)
    remarks = star_remarks(listing)
    remarks += [
        f"{one.name}: no record.json says what it ran with" for one in both if not one.record
    ]
    lines = []
    for name in listing.lists:
        remark = other_lists_remark(listing, name)
        paired = None if remark else _paired(both, name, resamples, utt2spk)
        if paired is None:
            lines += _unpaired(listing, name)
        else:
            lines += _lines(name, *paired)
            if resamples and any(result.speakers is None for result in paired):
                remark = f"{name}: no intervals, its ids tell no speaker; give --utt2spk"
        remarks += [remark] if remark else []
    record = {}
    if first.record and second.record:
        record = run_differences(first.record[-1], second.record[-1])
        # Two experiments are two commands.
        record.pop("command", None)
    return Comparison(listing, record, lines, resamples, remarks)


def to_json(found: Comparison) -> dict[str, Any]:
    """The comparison for JSON: rates as fractions, null for what is not known."""
    return {
        "experiments": [to_row(found.listing, one) for one in found.listing.experiments],
        "record": found.record,
        "lines": [asdict(line) for line in found.lines],
        "remarks": found.remarks,
    }


def format_comparison(found: Comparison) -> str:
    """Two tables, of what the experiments are and of what came of them, and the remarks."""
    both = found.listing.experiments
    names = [one.name for one in both]
    lines = [["", *names]]
    cells = [progress_cells(one) for one in both]
    lines += [list(row) for row in zip(("step", "loss", "utt/s"), *cells, strict=True)]
    lines.append(["begun (UTC)", *map(begun_cell, both)])
    lines += [[key, *(setting_cell(one, key) for one in both)] for key in found.listing.settings]
    lines += [[key, *map(_recorded, values)] for key, values in found.record.items()]
    parts = [align(lines)]
    if found.lines:
        head = ["scores", *names, "difference"]
        parts.append(align([head, *(_cells(line, found.listing) for line in found.lines)]))
    remarks = list(found.remarks)
    if any(line.difference for line in found.lines):
        text = f"difference: {names[1]} less {names[0]}, below 0 is better"
        if any(line.difference and line.difference.interval for line in found.lines):
            text += f"; 95 % intervals of {found.resamples:,} resamples of the speakers"
        remarks.append(text)
    return "\n\n".join([*parts, "\n".join(remarks)] if remarks else parts)


def _paired(
    both: Sequence[Experiment], name: str, resamples: int, utt2spk: Sequence[Path]
) -> tuple[SystemResult, SystemResult] | None:
    """Both systems as the report examines them; None where one has no such scores."""
    if any(name not in one.scores for one in both):
        return None
    systems = [load_system(one.scores[name], utt2spk=utt2spk) for one in both]
    examined = [told(examine, system, OPERATING_POINTS, resamples, 1, False) for system in systems]
    return None if None in examined else tuple(examined)


def _lines(name: str, first: SystemResult, second: SystemResult) -> Iterator[Line]:
    """Costs of all trials, EER of all and of those categories that have any."""
    found = comparison.compare(first, second)
    for one, two in zip(first.rows, second.rows, strict=True):
        if one.eer is None and two.eer is None:
            continue
        yield Line(name, "eer", one.category, (one.eer, two.eer), found.eer[one.category])
        if one.category == POOLED:
            values = (one.min_dcf, two.min_dcf)
            yield Line(name, "min_dcf", POOLED, values, found.min_dcf[0])


def _unpaired(listing: Listing, name: str) -> Iterator[Line]:
    """What was measured of each by itself."""
    measured = [listing.results[one.name].get(name) for one in listing.experiments]
    for metric in ("eer", "min_dcf"):
        first, second = (getattr(one, metric) if one else None for one in measured)
        yield Line(name, metric, POOLED, (first, second))


def _cells(line: Line, listing: Listing) -> list[str]:
    rate = line.metric == "eer"
    cells = [f"{line.scores} {'EER %' if rate else 'minDCF'} {line.category}"]
    for one, value in zip(listing.experiments, line.values, strict=True):
        star = star_of(listing.results[one.name].get(line.scores))
        shown = percent(value) if rate else decimals(value)
        cells.append(NONE if value is None else shown + star)
    return [*cells, _signed(line.difference, 100 if rate else 1, 2 if rate else 3)]


def _signed(found: Difference | None, scale: int, places: int) -> str:
    if found is None:
        return NONE
    ends = [found.value, *(found.interval or ())]
    value, *bounds = (f"{scale * number:+.{places}f}" for number in ends)
    return f"{value} [{', '.join(bounds)}]" if bounds else value


def _recorded(value: object) -> str:
    """What a record holds; the beginning of a checksum tells it from another."""
    text = NONE if value is None else value_cell(value)
    return text[:CHECKSUM_SHOWN] if CHECKSUM.fullmatch(text) else text
