"""Our evaluations beside the results that others have published."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from tidyvoice.errors import TidyVoiceError
from tidyvoice.evaluation.categories import CATEGORIES, POOLED
from tidyvoice.evaluation.evaluate import Evaluation
from tidyvoice.evaluation.tables import Cell, Table, decimals, marked, percent
from tidyvoice.scoring.provenance import describe
from tidyvoice.settings import Strict, load_settings

Category = Literal[(POOLED, *CATEGORIES)]


class TrialList(Strict):
    """A published trial list."""

    name: str
    trials: int | None = Field(None, ge=1, description="number of trials")


class Figures(Strict):
    """Published results of one system on one list; minDCF at P_target 0.01, costs of 1."""

    eer_percent: dict[Category, float] = Field(min_length=1)
    min_dcf: dict[Category, float] = Field(default_factory=dict)

    def eer(self, category: str) -> float | None:
        """Return the EER of a category, a fraction."""
        rate = self.eer_percent.get(category)
        return None if rate is None else rate / 100


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
        key, trial_list: the list.
        systems: the published systems with results on it, by name.
        reference: name of the system that ours are compared with, category by category.
        evaluations: ours, by name.
    """

    key: str
    trial_list: TrialList
    systems: Mapping[str, System]
    reference: str
    evaluations: Mapping[str, Evaluation]

    def to_json(self) -> dict[str, Any]:
        """Return the reference and the ranking for JSON: rates as fractions, null if unknown."""
        keys = ("system", "eer", "min_dcf", "source")
        ranking = [
            dict(zip(keys, (str(name), eer.value, cost.value, source), strict=True))
            for name, eer, cost, source in self.ranking().rows
        ]
        reference = {"system": self.reference, "list": self.trial_list.name}
        return {"published": reference, "ranking": ranking}

    def categories_table(self) -> Table:
        """Return the categories of the reference, and ours with the differences."""
        figures = self.systems[self.reference].results[self.key]
        lines = [("EER %", "eer", name, figures.eer(name)) for name in (POOLED, *CATEGORIES)]
        costs = {POOLED: None} | figures.min_dcf
        lines += [("minDCF", "min_dcf", name, cost) for name, cost in costs.items()]
        rows = []
        for label, metric, category, published in lines:
            write = percent if metric == "eer" else decimals
            row: list[Cell] = [f"{label} {category}", write(published)]
            for evaluation in self.evaluations.values():
                value = getattr(evaluation.row(category), metric)
                row.append(str(write(value)))
                if None not in (value, published):
                    row[-1] += f" ({replace(write(value - published), signed=True)})"
            rows.append(row)
        names = [str(marked(name, e.lineage)) for name, e in self.evaluations.items()]
        return Table(["", f"{self.reference}, published", *names], rows)

    def ranking(self) -> Table:
        """Return the published systems and ours by EER of all trials; without one, at the end."""
        rows: list[list[Cell]] = []
        for name, system in self.systems.items():
            figures = system.results[self.key]
            values = percent(figures.eer(POOLED)), decimals(figures.min_dcf.get(POOLED))
            rows.append([name, *values, system.source])
        for name, evaluation in self.evaluations.items():
            other = self._other_list(evaluation)
            source = f"ours, on another list: {other}" if other else "ours"
            values = percent(evaluation.pooled.eer), decimals(evaluation.pooled.min_dcf)
            rows.append([marked(name, evaluation.lineage), *values, source])
        rows.sort(key=lambda row: (row[1].value is None, row[1].value))
        return Table(["system", "EER %", "minDCF", "source"], rows, left=(3,))

    def remarks(self) -> list[str]:
        """Return what a reader must know of the list, the reference and our scores."""
        name, system = self.reference, self.systems[self.reference]
        lines = [f"{name}: {self.trial_list.name}; {system.source}"]
        lines += [f"{name}: {system.note}"] if system.note else []
        for title, evaluation in self.evaluations.items():
            lines.append(f"{title}: {'; '.join(map(describe, evaluation.lineage.steps))}")
            if other := self._other_list(evaluation):
                lines.append(
                    f"{title}: {other}, but the published list has "
                    f"{self.trial_list.trials:,}: results on different lists cannot be compared"
                )
        return lines

    def _other_list(self, evaluation: Evaluation) -> str | None:
        """Return the number of trials of a list that has another length than the published one."""
        number = _trials(evaluation)
        return None if self.trial_list.trials in (None, number) else f"{number:,} trials"


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
    _require(published.lists, trial_list, f"{path}: --list")
    systems = {key: item for key, item in published.systems.items() if trial_list in item.results}
    name = system or next(iter(systems), None)
    _require(systems, name, f"{path}: --system, results on {trial_list}")
    return Comparison(trial_list, published.lists[trial_list], systems, name, evaluations)


def _require(entries: Mapping[str, Any], key: str | None, where: str) -> None:
    if key not in entries:
        raise TidyVoiceError(f"{where}: there is no {key!r}; take one of {', '.join(entries)}")


def _trials(evaluation: Evaluation) -> int:
    return evaluation.pooled.targets + evaluation.pooled.nontargets
