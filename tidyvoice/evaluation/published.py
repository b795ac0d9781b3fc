"""Our evaluations beside the results that others have published."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from tidyvoice.errors import TidyVoiceError
from tidyvoice.evaluation.categories import CATEGORIES, POOLED
from tidyvoice.evaluation.evaluate import Evaluation
from tidyvoice.evaluation.tables import Table, decimals, marked, percent
from tidyvoice.scoring.provenance import describe
from tidyvoice.settings import Strict, load_settings

Category = Literal[(POOLED, *CATEGORIES)]
WRITE = {"eer": percent, "min_dcf": decimals}


class TrialList(Strict):
    """A published trial list."""

    name: str
    trials: int | None = Field(None, ge=1, description="number of trials")


class Figures(Strict):
    """Published results of one system on one list; minDCF at P_target 0.01, costs of 1."""

    eer_percent: dict[Category, float] = Field(min_length=1)
    min_dcf: dict[Category, float] = Field(default_factory=dict)


class System(Strict):
    """A published system."""

    source: str = Field(description="where the results were published")
    note: str | None = None
    results: dict[str, Figures] = Field(min_length=1, description="by list")


class Published(Strict):
    """YAML file of published results; its first list and first system are the defaults."""

    lists: dict[str, TrialList] = Field(min_length=1)
    systems: dict[str, System] = Field(min_length=1)


@dataclass(frozen=True)
class Comparison:
    """Our evaluations beside the published systems of one list.

    Attributes:
        trial_list: the list.
        systems: the published systems with results on it, by name.
        figures: their figures on it.
        reference: name of the system that ours are compared with, category by category.
        evaluations: ours, by name.
    """

    trial_list: TrialList
    systems: Mapping[str, System]
    figures: Mapping[str, Figures]
    reference: str
    evaluations: Mapping[str, Evaluation]

    def to_json(self) -> dict[str, Any]:
        """Return the comparison for JSON: rates as fractions, null for what is not available."""
        source = self.systems[self.reference].source
        rows = [
            {
                "metric": metric,
                "category": category,
                "published": value,
                "values": {
                    name: getattr(e.row(category), metric) for name, e in self.evaluations.items()
                },
            }
            for metric, category, value in _published(self.figures[self.reference])
        ]
        return {
            "published": {
                "system": self.reference,
                "list": self.trial_list.name,
                "source": source,
            },
            "rows": rows,
            "ranking": [{**row, "system": str(row["system"])} for row in self.ranking()],
        }

    def categories_table(self) -> Table:
        """Return the categories of the reference, and ours with the differences."""
        names = [marked(name, e.lineage) for name, e in self.evaluations.items()]
        rows = []
        for metric, category, published in _published(self.figures[self.reference]):
            line = [
                f"{'EER %' if metric == 'eer' else 'minDCF'} {category}",
                WRITE[metric](published),
            ]
            for evaluation in self.evaluations.values():
                value = getattr(evaluation.row(category), metric)
                text = str(WRITE[metric](value))
                if None not in (value, published):
                    text += f" ({replace(WRITE[metric](value - published), signed=True)})"
                line.append(text)
            rows.append(line)
        return Table(["", f"{self.reference}, published", *map(str, names)], rows)

    def ranking(self) -> list[dict[str, Any]]:
        """Return the published systems and ours by EER of all trials; without one, at the end."""
        rows = []
        for name, figures in self.figures.items():
            values = {m: value for m, category, value in _published(figures) if category == POOLED}
            rows.append({"system": name, **values, "source": self.systems[name].source})
        for name, evaluation in self.evaluations.items():
            pooled, source = evaluation.pooled, "ours"
            if not self._same_length(evaluation):
                source += f", on another list: {_trials(evaluation):,} trials"
            system = marked(name, evaluation.lineage)
            rows.append(
                {"system": system, "eer": pooled.eer, "min_dcf": pooled.min_dcf, "source": source}
            )
        return sorted(rows, key=lambda row: (row["eer"] is None, row["eer"]))

    def ranking_table(self) -> Table:
        """Return the ranking as a table."""
        rows = [
            [row["system"], percent(row["eer"]), decimals(row["min_dcf"]), row["source"]]
            for row in self.ranking()
        ]
        return Table(["system", "EER %", "minDCF", "source"], rows, left=(3,))

    def remarks(self) -> list[str]:
        """Return what a reader must know of the list, the reference and our scores."""
        name, system = self.reference, self.systems[self.reference]
        lines = [f"{name}: {self.trial_list.name}; {system.source}"]
        lines += [f"{name}: {system.note}"] if system.note else []
        for title, evaluation in self.evaluations.items():
            lines.append(f"{title}: {'; '.join(map(describe, evaluation.lineage.steps))}")
            if not self._same_length(evaluation):
                lines.append(
                    f"{title}: {_trials(evaluation):,} trials, but the published list has "
                    f"{self.trial_list.trials:,}: results on different lists cannot be compared"
                )
        return lines

    def _same_length(self, evaluation: Evaluation) -> bool:
        return self.trial_list.trials in (None, _trials(evaluation))


def compare(
    path: str | Path,
    evaluations: Mapping[str, Evaluation],
    trial_list: str | None = None,
    system: str | None = None,
) -> Comparison:
    """Compare our evaluations with the published results of a YAML file.

    Args:
        trial_list: key of a list; by default the one with as many trials as our first system, or
            else the first one.
        system: the reference; by default the first one with results on the list.

    Raises:
        TidyVoiceError: keys or values are wrong, or there is no such list or system.
    """
    published = load_settings(Published, path)
    for name, item in published.systems.items():
        for key in item.results:
            _require(published.lists, key, f"{path}: systems.{name}.results")
    if trial_list is None:
        lengths = {entry.trials: key for key, entry in published.lists.items()}
        first = next(iter(evaluations.values()))
        trial_list = lengths.get(_trials(first), next(iter(published.lists)))
    chosen = _require(published.lists, trial_list, f"{path}: --list")
    systems = {key: item for key, item in published.systems.items() if trial_list in item.results}
    name = next(iter(systems), None) if system is None else system
    _require(systems, name, f"{path}: --system, results on {trial_list}")
    figures = {key: item.results[trial_list] for key, item in systems.items()}
    return Comparison(chosen, systems, figures, name, evaluations)


def _require(entries: Mapping[str, Any], key: str | None, where: str) -> Any:
    if key not in entries:
        raise TidyVoiceError(f"{where}: there is no {key!r}; take one of {', '.join(entries)}")
    return entries[key]


def _trials(evaluation: Evaluation) -> int:
    return evaluation.pooled.targets + evaluation.pooled.nontargets


def _published(figures: Figures) -> list[tuple[str, str, float | None]]:
    """Return metric, category and published value (a fraction) of each line of the table."""
    order = (POOLED, *CATEGORIES)
    rates = {category: value / 100 for category, value in figures.eer_percent.items()}
    cells = [("eer", category, rates.get(category)) for category in order]
    costs = [category for category in order if category == POOLED or category in figures.min_dcf]
    return cells + [("min_dcf", category, figures.min_dcf.get(category)) for category in costs]
