"""Tables of metrics, written as plain text or Markdown; report/page.html writes them as HTML."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from tidyvoice.evaluation.categories import CATEGORIES, POOLED, Interval, LanguageRow
from tidyvoice.evaluation.evaluate import Difference, Evaluation
from tidyvoice.scoring.lineage import Lineage
from tidyvoice.scoring.provenance import UNKNOWN_ORIGIN


@dataclass(frozen=True)
class Number:
    """A number in a table, with its confidence interval where there is one.

    Without ``places`` it is an integer; ``scale`` is 100 for percent. ``signed`` numbers are
    differences; in HTML they are bold if the interval leaves out 0.
    """

    value: float | None
    interval: Interval | None = None
    places: int | None = None
    scale: int = 1
    signed: bool = False

    def __str__(self) -> str:
        return f"{self.text()} {self.bounds()}".rstrip()

    def text(self) -> str:
        """Return the number without its interval."""
        return "n/a" if self.value is None else self._format(self.value)

    def bounds(self) -> str:
        """Return the interval in brackets; "" without one."""
        return f"[{', '.join(map(self._format, self.interval))}]" if self.interval else ""

    def __html__(self) -> str:
        """Return the number with its interval below it, small."""
        text, bounds = (part.replace("-", "−") for part in (self.text(), self.bounds()))
        if self.signed and self.interval and not self.interval[0] <= 0 <= self.interval[1]:
            text = f"<strong>{text}</strong>"
        return f"{text}<small>{bounds}</small>" if bounds else text

    def _format(self, value: float) -> str:
        if self.places is None:
            return f"{value:,}"
        return f"{self.scale * value:{'+' if self.signed else ''}.{self.places}f}"


@dataclass(frozen=True)
class Name:
    """The name of a system, with marks such as "in-sample"."""

    text: str
    marks: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.text} ({', '.join(self.marks)})" if self.marks else self.text

    def __html__(self) -> str:
        """Return the name with its marks as labels."""
        marks = "".join(f' <span class="mark">{escape(mark)}</span>' for mark in self.marks)
        return escape(self.text) + marks


# None is a dash: the cell does not apply to the row.
Cell = str | Number | Name | None


@dataclass(frozen=True)
class Table:
    """A head and rows of cells; a row of one string is a title for the rows below it.

    The first column and those in ``left`` are text, aligned to the left.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    left: Collection[int] = ()

    def transposed(self) -> "Table":
        """Return the table with rows as columns, which keeps few long rows readable as text."""
        titles, columns, group = [], [], ""
        for row in self.rows:
            if len(row) < len(self.head):
                group = f"{row[0]}: "
            else:
                titles.append(f"{group}{row[0]}")
                columns.append(row[1:])
        return Table(["", *titles], list(zip(self.head[1:], *columns, strict=True)))

    def to_text(self) -> str:
        """Return the table with aligned columns and a rule below the head."""
        lines = [self.head, *([_text(cell) for cell in row] for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        text = []
        for line in lines:
            cells = [
                cell.ljust(width) if place in (0, *self.left) else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(line, widths, strict=True))
            ]
            text.append("  ".join(cells).rstrip())
        rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
        return "\n".join([text[0], rule, *text[1:]])

    def to_markdown(self) -> str:
        """Return the table as Markdown."""
        rule = ["---" if place in {0, *self.left} else "---:" for place in range(len(self.head))]
        cells = [[_text(cell).replace("|", "\\|") for cell in row] for row in self.rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in [self.head, rule, *cells])


def _text(cell: Cell) -> str:
    return "-" if cell is None else str(cell)


def percent(rate: float | None, interval: Interval | None = None) -> Number:
    """Return a rate in percent, two decimals."""
    return Number(rate, interval, places=2, scale=100)


def decimals(cost: float | None, interval: Interval | None = None) -> Number:
    """Return a cost, three decimals."""
    return Number(cost, interval, places=3)


def marked(name: str, lineage: Lineage) -> Name:
    """Return a system's name with marks for what its results suffer from."""
    return Name(name, (*lineage.flaws, *(() if lineage.complete else (UNKNOWN_ORIGIN,))))


def categories_table(evaluation: Evaluation, actual: bool = True) -> Table:
    """Return every metric of all trials and of the four categories.

    Without ``actual``, actDCF and Cllr are left out: they assume log-likelihood ratios.
    """
    points = [point.p_target for point in evaluation.points]
    head = ["targets/non-targets", "targets", "non-targets", "EER %"]
    names = ("minDCF", "actDCF") if actual else ("minDCF",)
    head += [f"{name}({p:g})" for name in names for p in points]
    head += ["Cllr", "minCllr"] if actual else ["minCllr"]
    rows = []
    for row in evaluation.categories:
        missing = [decimals(None)] * len(points)
        cells = [row.category, Number(row.targets), Number(row.nontargets)]
        cells += [percent(row.eer, row.eer_interval)]
        cells += [decimals(p.min_dcf, p.min_dcf_interval) for p in row.points] or missing
        if actual:
            cells += [decimals(p.act_dcf, p.act_dcf_interval) for p in row.points] or missing
            cells += [decimals(row.cllr, row.cllr_interval)]
        rows.append([*cells, decimals(row.min_cllr)])
    return Table(head, rows)


def systems_table(systems: Mapping[str, Evaluation]) -> Table:
    """Return one row for each system: metrics of all trials, then the EER of each category.

    Below them are the differences to the first system of those scored on the same trials.
    """
    name, main = next(iter(systems.items()))
    points = [point.p_target for point in main.points]
    head = ["system", "EER %", *(f"minDCF({p:g})" for p in points), f"actDCF({points[0]:g})"]
    head += ["Cllr", "minCllr", *(f"EER % {category}" for category in CATEGORIES)]
    rows, below = [], []
    for title, evaluation in systems.items():
        pooled = evaluation.pooled
        first, *others = pooled.points
        cells = [marked(title, evaluation.lineage), percent(pooled.eer, pooled.eer_interval)]
        cells += [decimals(first.min_dcf, first.min_dcf_interval)]
        cells += [decimals(point.min_dcf) for point in others]
        cells += [*_actual(evaluation), decimals(pooled.min_cllr), *_by_category(evaluation)]
        rows.append(cells)
        deltas = evaluation.minus(main)
        if evaluation is not main and deltas:
            cells = [title, _difference(deltas.eer[POOLED], 2, 100)]
            cells += [*(_difference(point, 3) for point in deltas.min_dcf), None, None, None]
            below.append(cells + [_difference(deltas.eer[c], 2, 100) for c in CATEGORIES])
    if below:
        rows += [[f"Difference to {name}"], *below]
    return Table(head, rows)


def brief_table(systems: Mapping[str, Evaluation]) -> Table:
    """Return one row for each system without intervals, narrow enough for a terminal."""
    rows = []
    for name, evaluation in systems.items():
        pooled = evaluation.pooled
        cells = [marked(name, evaluation.lineage), percent(pooled.eer), decimals(pooled.min_dcf)]
        rows.append([*cells, *_actual(evaluation), *_by_category(evaluation)])
    return Table(["system", "EER %", "minDCF", "actDCF", "Cllr", *CATEGORIES], rows)


def _actual(evaluation: Evaluation) -> list[Cell]:
    """Return actDCF and Cllr, which only log-likelihood ratios have."""
    if not evaluation.lineage.calibrated:
        return [None, None]
    return [decimals(evaluation.pooled.act_dcf), decimals(evaluation.pooled.cllr)]


def _by_category(evaluation: Evaluation) -> list[Cell]:
    return [percent(evaluation.row(category).eer) for category in CATEGORIES]


def _difference(delta: Difference | None, places: int, scale: int = 1) -> Number | None:
    return delta and Number(delta.value, delta.interval, places, scale, signed=True)


def languages_table(rows: Sequence[LanguageRow]) -> Table:
    """Return trials, EER and minDCF of languages or pairs of languages, the hardest first."""
    ordered = sorted(rows, key=lambda row: -1 if row.eer is None else row.eer, reverse=True)
    cells = []
    for row in ordered:
        counts = Number(row.targets), Number(row.nontargets)
        name = " – ".join(dict.fromkeys(row.languages))
        cells.append([name, *counts, percent(row.eer), decimals(row.min_dcf)])
    head = "language" if all(len(row.languages) == 1 for row in rows) else "languages"
    return Table([head, "targets", "non-targets", "EER %", "minDCF"], cells)
