"""Metrics of score files beside the figures that others have published."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from tidyvoice.errors import TidyVoiceError
from tidyvoice.evaluation.categories import CATEGORIES, POOLED, Row, evaluate
from tidyvoice.evaluation.tables import NOT_AVAILABLE, align, count
from tidyvoice.scoring.groups import languages_of
from tidyvoice.scoring.lineage import Lineage, read_lineage
from tidyvoice.scoring.provenance import describe
from tidyvoice.scoring.trials import read_scores
from tidyvoice.settings import Strict, load_settings

Category = Literal[(POOLED, *CATEGORIES)]


class TrialList(Strict):
    """A published trial list."""

    name: str
    trials: int | None = Field(None, ge=1, description="how many it has")


class Figures(Strict):
    """Figures of one system on one list.

    The minDCF is the one of ``categories.OPERATING_POINTS[0]``: P_target 0.01, costs of 1.
    """

    eer_percent: dict[Category, float] = Field(min_length=1)
    min_dcf: dict[Category, float] = Field(default_factory=dict)


class System(Strict):
    """A published system."""

    source: str = Field(description="where the figures are from")
    note: str | None = None
    results: dict[str, Figures] = Field(min_length=1, description="by list")


class Published(Strict):
    """A YAML file of published results; the first list and the first system are the defaults."""

    lists: dict[str, TrialList] = Field(min_length=1)
    systems: dict[str, System] = Field(min_length=1)


@dataclass(frozen=True)
class Measured:
    """The metrics of one of our score files.

    Attributes:
        rows: see ``categories.evaluate``.
        lineage: how it was made.
    """

    name: str
    path: Path
    trials: int
    rows: Sequence[Row]
    lineage: Lineage

    @property
    def title(self) -> str:
        flaws = ", ".join(self.lineage.flaws)
        return f"{self.name} ({flaws})" if flaws else self.name

    def metric(self, metric: str, category: str) -> float | None:
        """``eer`` or ``min_dcf`` of a category; None where it is not available."""
        return getattr(next(row for row in self.rows if row.category == category), metric)


@dataclass(frozen=True)
class Comparison:
    """Our score files beside the published systems of one list.

    Attributes:
        trial_list: the list.
        systems: those with results on it, by name.
        figures: their figures on it.
        reference: name of the system whose figures ours are set beside, category by category.
    """

    trial_list: TrialList
    systems: Mapping[str, System]
    figures: Mapping[str, Figures]
    reference: str
    measured: Sequence["Measured"]


def compare(
    path: str | Path,
    measured: Sequence["Measured"],
    trial_list: str | None = None,
    system: str | None = None,
) -> Comparison:
    """Set our metrics beside the published results of a YAML file.

    Args:
        trial_list: key of a list; by default the one with as many trials as the first score file,
            or else the first one.
        system: the reference; by default the first one with results on the list.

    Raises:
        TidyVoiceError: keys or values are wrong, or there is no such list or system.
    """
    published = load_settings(Published, path)
    for name, one in published.systems.items():
        for key in one.results:
            _known(published.lists, key, f"{path}: systems.{name}.results")
    if trial_list is None:
        lengths = {known.trials: key for key, known in published.lists.items()}
        trial_list = lengths.get(measured[0].trials, next(iter(published.lists)))
    chosen = _known(published.lists, trial_list, f"{path}: --list")
    systems = {k: one for k, one in published.systems.items() if trial_list in one.results}
    name = next(iter(systems), None) if system is None else system
    _known(systems, name, f"{path}: --system, results on {trial_list}")
    figures = {key: one.results[trial_list] for key, one in systems.items()}
    return Comparison(chosen, systems, figures, name, measured)


def _known(named: Mapping[str, Any], key: str | None, where: str) -> Any:
    if key not in named:
        raise TidyVoiceError(f"{where}: nothing is called {key!r}: take one of {list(named)}")
    return named[key]


def measure(name: str, path: Path, utt2lang: Mapping[str, str] | None = None) -> Measured:
    """The metrics of a score file.

    Raises:
        TidyVoiceError: see ``trials.read_scores``, ``groups.languages_of`` and
            ``categories.evaluate``.
    """
    table = read_scores(path)
    rows = evaluate(table, languages_of(table.trials, utt2lang))
    return Measured(name, path, len(table.trials), rows, read_lineage(path))


def format_comparison(found: Comparison) -> str:
    """Each category beside the reference, then all systems by EER, then remarks."""
    lines = [["", f"{found.reference}, published", *(ours.title for ours in found.measured)]]
    for metric, published, category in _cells(found.figures[found.reference]):
        label = f"{'EER %' if metric == 'eer' else 'minDCF'} {category}"
        line = [label, _text(metric, published)]
        for ours in found.measured:
            value = ours.metric(metric, category)
            said = _text(metric, value)
            if None not in (value, published):
                said += f" ({_text(metric, value - published, sign='+')})"
            line.append(said)
        lines.append(line)
    ranking = [["system", "EER %", "minDCF", "source"]]
    for row in _ranking(found):
        cells = (_text(metric, row[metric]) for metric in ("eer", "min_dcf"))
        ranking.append([row["system"], *cells, row["source"]])
    width = max(len(row[-1]) for row in ranking)
    table = align([[*row[:-1], row[-1].ljust(width)] for row in ranking])
    ranked = "\n".join(line.rstrip() for line in table.splitlines())
    title = f"{found.trial_list.name}, all trials, by EER:"
    return "\n".join([align(lines), "", title, ranked, "", *_remarks(found)])


def comparison_json(found: Comparison) -> dict[str, Any]:
    """The same, rates as fractions, null for what is not available."""
    name, trial_list = found.reference, found.trial_list.name
    published = {"system": name, "list": trial_list, "source": found.systems[name].source}
    rows = [
        {
            "metric": metric,
            "category": category,
            "published": known,
            "values": {ours.name: ours.metric(metric, category) for ours in found.measured},
        }
        for metric, known, category in _cells(found.figures[name])
    ]
    about = {
        ours.name: {
            "scores": str(ours.path),
            "trials": ours.trials,
            **ours.lineage.to_json(),
        }
        for ours in found.measured
    }
    return {"published": published, "rows": rows, "ranking": _ranking(found), "systems": about}


def _cells(figures: Figures) -> list[tuple[str, float | None, str]]:
    """Metric, published value (a fraction) and category of each line of the table."""
    rates = {category: value / 100 for category, value in figures.eer_percent.items()}
    order = (POOLED, *CATEGORIES)
    cells = [("eer", rates.get(category), category) for category in order]
    costs = [category for category in order if category == POOLED or category in figures.min_dcf]
    return cells + [("min_dcf", figures.min_dcf.get(category), category) for category in costs]


def _ranking(found: Comparison) -> list[dict[str, Any]]:
    """The published systems and ours by EER of all trials; those without one come last."""
    rows = []
    for name, figures in found.figures.items():
        values = {
            metric: value for metric, value, category in _cells(figures) if category == POOLED
        }
        rows.append({"system": name, **values, "source": found.systems[name].source})
    for ours in found.measured:
        values = {metric: ours.metric(metric, POOLED) for metric in ("eer", "min_dcf")}
        other = found.trial_list.trials not in (None, ours.trials)
        source = f"ours, on another list: {count(ours.trials)} trials" if other else "ours"
        rows.append({"system": ours.title, **values, "source": source})
    return sorted(rows, key=lambda row: (row["eer"] is None, row["eer"]))


def _text(metric: str, value: float | None, sign: str = "") -> str:
    if value is None:
        return NOT_AVAILABLE
    return f"{100 * value:{sign}.2f}" if metric == "eer" else f"{value:{sign}.3f}"


def _remarks(found: Comparison) -> list[str]:
    """Return the remarks that explain the columns of the tables."""
    name, trial_list = found.reference, found.trial_list
    reference = found.systems[name]
    said = [f"{name}: {trial_list.name}; {reference.source}"]
    said += [f"{name}: {reference.note}"] if reference.note else []
    for ours in found.measured:
        said.append(f"{ours.name}: {'; '.join(map(describe, ours.lineage.steps))}")
        if trial_list.trials not in (None, ours.trials):
            said.append(
                f"{ours.name}: {count(ours.trials)} trials, the published list has "
                f"{count(trial_list.trials)}: figures of different lists cannot be compared"
            )
        said += ours.lineage.remarks(f"{ours.name}: ")
    return said
