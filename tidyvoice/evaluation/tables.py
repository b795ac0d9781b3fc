"""Metrics as plain-text tables and as JSON."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict

from tidyvoice.evaluation.categories import CATEGORIES, Interval, Row
from tidyvoice.evaluation.languages import LanguageRow

NOT_AVAILABLE = "n/a"


def percent(rate: float | None, interval: Interval | None = None) -> str:
    """A rate in percent, two decimals, with its confidence interval if there is one."""
    if rate is None:
        return NOT_AVAILABLE
    text = f"{100 * rate:.2f}"
    return (
        text if interval is None else f"{text} [{100 * interval[0]:.2f}, {100 * interval[1]:.2f}]"
    )


def decimals(cost: float | None, interval: Interval | None = None) -> str:
    """A cost, three decimals, with its confidence interval if there is one."""
    if cost is None:
        return NOT_AVAILABLE
    text = f"{cost:.3f}"
    return text if interval is None else f"{text} [{interval[0]:.3f}, {interval[1]:.3f}]"


def count(number: int | None) -> str:
    """A number of trials, with separators."""
    return NOT_AVAILABLE if number is None else f"{number:,}"


def format_table(rows: Sequence[Row]) -> str:
    """The rows of one system: every metric, and where known the intervals of the main ones."""
    points = [point.costs.p_target for point in rows[0].points]
    head = ["targets/non-targets", "targets", "non-targets", "EER %"]
    head += [f"{name}({p:g})" for name in ("minDCF", "actDCF") for p in points]
    lines = [[*head, "Cllr", "minCllr"]]
    for row in rows:
        costs = [decimals(point.min_dcf, point.min_dcf_interval) for point in row.points]
        costs += [decimals(point.act_dcf, point.act_dcf_interval) for point in row.points]
        lines.append(
            [
                row.category,
                count(row.targets),
                count(row.nontargets),
                percent(row.eer, row.eer_interval),
                *(costs or [NOT_AVAILABLE] * 2 * len(points)),
                decimals(row.cllr, row.cllr_interval),
                decimals(row.min_cllr),
            ]
        )
    return align(lines)


def format_systems(systems: Mapping[str, Sequence[Row]], calibrated: Collection[str]) -> str:
    """Several systems, one a line: the costs and EER % of all trials, EER % of each category.

    Args:
        calibrated: those whose scores are log-likelihood ratios; of others actual costs say
            nothing.
    """
    lines = [["system", "EER %", "minDCF", "actDCF", "Cllr", *CATEGORIES]]
    for name, (pooled, *others) in systems.items():
        actual = [decimals(pooled.act_dcf), decimals(pooled.cllr)]
        actual = actual if name in calibrated else ["-"] * 2
        costs = [percent(pooled.eer), decimals(pooled.min_dcf), *actual]
        lines.append([name, *costs, *(percent(row.eer) for row in others)])
    return align(lines)


def format_languages(rows: Sequence[LanguageRow]) -> str:
    """Languages, or pairs of them, one a line: trials, EER %, minDCF."""
    lines = [["language", "targets", "non-targets", "EER %", "minDCF"]]
    lines += [
        [
            " / ".join(row.languages),
            count(row.targets),
            count(row.nontargets),
            percent(row.eer),
            decimals(row.min_dcf),
        ]
        for row in rows
    ]
    return align(lines)


def to_json(**parts: object) -> str:
    """Lists of rows as JSON, by name: rates as fractions, null for what is not available."""
    return json.dumps(parts, indent=2, default=_row)


def _row(row: Row | LanguageRow) -> dict:
    fields = asdict(row)
    if isinstance(row, Row):
        fields["min_dcf"], fields["act_dcf"] = row.min_dcf, row.act_dcf
    return fields


def align(lines: Sequence[Sequence[str]]) -> str:
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
