"""Metrics of score files beside the figures that others have published."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from tidyvoice.errors import TidyVoiceError
from tidyvoice.scoring.categories import CATEGORIES, POOLED, Row, evaluate
from tidyvoice.scoring.groups import languages_of
from tidyvoice.scoring.lineage import read_lineage
from tidyvoice.scoring.tables import NOT_AVAILABLE, align, count
from tidyvoice.scoring.trials import read_scores
from tidyvoice.settings import Strict, load_settings

Category = Literal[(POOLED, *CATEGORIES)]


class Figures(Strict):
    """What was published of one system on one list.

    The minDCF is the one of ``categories.OPERATING_POINTS[0]``: P_target 0.01, costs of 1.
    """

    list: str = Field(description="trial list")
    trials: int | None = Field(None, ge=1, description="how many it has")
    source: str = Field(description="where the figures are from")
    note: str | None = None
    eer_percent: dict[Category, float] = Field(min_length=1)
    min_dcf: dict[Category, float] = Field(default_factory=dict)


class Published(Strict):
    """A YAML file of published figures; the first system is the one that is meant by default."""

    systems: dict[str, Figures] = Field(min_length=1)


@dataclass(frozen=True)
class Measured:
    """The metrics of one of our score files.

    Attributes:
        rows: see ``categories.evaluate``.
        in_sample, unchecked: what its lineage says against it.
        known: whether its lineage is known at all.
    """

    name: str
    path: Path
    trials: int
    rows: Sequence[Row]
    in_sample: list[str]
    unchecked: list[str]
    known: bool

    @property
    def title(self) -> str:
        return f"{self.name} (in-sample)" if self.in_sample else self.name

    def metric(self, metric: str, category: str) -> float | None:
        """``eer`` or ``min_dcf`` of a category; None where it is not available."""
        return getattr(next(row for row in self.rows if row.category == category), metric)


def load_figures(path: str | Path, system: str | None = None) -> tuple[str, Figures]:
    """The name and the figures of a system of a YAML file; of the first one without a name.

    Raises:
        TidyVoiceError: keys or values are wrong, or there is no such system.
    """
    systems = load_settings(Published, path).systems
    name = next(iter(systems)) if system is None else system
    if name not in systems:
        raise TidyVoiceError(f"{path}: no system is called {name!r}: take one of {list(systems)}")
    return name, systems[name]


def measure(name: str, path: Path, utt2lang: Mapping[str, str] | None = None) -> Measured:
    """The metrics of a score file.

    Raises:
        TidyVoiceError: see ``trials.read_scores``, ``groups.languages_of`` and
            ``categories.evaluate``.
    """
    table, lineage = read_scores(path), read_lineage(path)
    rows = evaluate(table, languages_of(table.trials, utt2lang))
    steps = lineage.steps if lineage else ()
    unchecked = list(dict.fromkeys(said for step in steps for said in step.unchecked))
    in_sample = lineage.in_sample if lineage else []
    return Measured(name, path, len(table.trials), rows, in_sample, unchecked, lineage is not None)


def format_comparison(name: str, figures: Figures, systems: Sequence[Measured]) -> str:
    """A line a category: the published figure, then ours and by how much it is more."""
    lines = [["", f"{name}, published", *(system.title for system in systems)]]
    for metric, published, category in _cells(figures):
        label = f"{'EER %' if metric == 'eer' else 'minDCF'} {category}"
        line = [label, NOT_AVAILABLE if published is None else _text(metric, published)]
        for system in systems:
            value = system.metric(metric, category)
            said = NOT_AVAILABLE if value is None else _text(metric, value)
            if None not in (value, published):
                said += f" ({_text(metric, value - published, sign='+')})"
            line.append(said)
        lines.append(line)
    return "\n".join([align(lines), "", *_remarks(name, figures, systems)])


def comparison_json(name: str, figures: Figures, systems: Sequence[Measured]) -> dict[str, Any]:
    """The same, rates as fractions, null for what is not available."""
    published = {"system": name, "list": figures.list, "source": figures.source}
    rows = [
        {
            "metric": metric,
            "category": category,
            "published": known,
            "values": {system.name: system.metric(metric, category) for system in systems},
        }
        for metric, known, category in _cells(figures)
    ]
    about = {
        system.name: {
            "scores": str(system.path),
            "trials": system.trials,
            "in_sample": system.in_sample if system.known else None,
            "unchecked": system.unchecked if system.known else None,
        }
        for system in systems
    }
    return {"published": published, "rows": rows, "systems": about}


def _cells(figures: Figures) -> list[tuple[str, float | None, str]]:
    """Metric, published value (a fraction) and category of each line of the table."""
    rates = {category: value / 100 for category, value in figures.eer_percent.items()}
    order = (POOLED, *CATEGORIES)
    cells = [("eer", rates.get(category), category) for category in order]
    costs = [category for category in order if category == POOLED or category in figures.min_dcf]
    return cells + [("min_dcf", figures.min_dcf.get(category), category) for category in costs]


def _text(metric: str, value: float, sign: str = "") -> str:
    return f"{100 * value:{sign}.2f}" if metric == "eer" else f"{value:{sign}.3f}"


def _remarks(name: str, figures: Figures, systems: Sequence[Measured]) -> list[str]:
    """What a reader of the table must know about its columns."""
    said = [f"{name}: {figures.list}; {figures.source}"]
    said += [f"{name}: {figures.note}"] if figures.note else []
    for system in systems:
        if figures.trials not in (None, system.trials):
            said.append(
                f"{system.name}: {count(system.trials)} trials, the published list has "
                f"{count(figures.trials)}: figures of different lists cannot be compared"
            )
        if not system.known:
            said.append(f"{system.name}: nothing beside {system.path} says how it was made")
        said += [f"IN-SAMPLE: {system.name}: {text}" for text in system.in_sample]
        said += [f"not checked: {system.name}: {text}" for text in system.unchecked]
    return said
