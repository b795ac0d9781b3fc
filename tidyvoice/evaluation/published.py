"""Our evaluations beside the results that others have published."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from tidyvoice.errors import TidyVoiceError
from tidyvoice.evaluation.categories import KINDS, POOLED
from tidyvoice.evaluation.evaluate import Evaluation
from tidyvoice.evaluation.tables import Cell, Table, decimals, marked, percent
from tidyvoice.scoring.provenance import describe
from tidyvoice.settings import Strict, load_settings

Category = Literal[tuple(KINDS)]


class TrialList(Strict):
    """A published trial list."""

    name: str
    trials: int | None = Field(None, ge=1, description="number of trials")


class Figures(Strict):
    """Published results of one system on one list; minDCF at P_target 0.01, costs of 1."""

    eer_percent: dict[Category, Annotated[float, Field(ge=0, le=100)]] = Field(min_length=1)
    min_dcf: dict[Category, Annotated[float, Field(ge=0, le=1)]] = Field(default_factory=dict)

    @property
    def eer(self) -> dict[str, float]:
        """The EER by category, a fraction."""
        return {category: rate / 100 for category, rate in self.eer_percent.items()}


class System(Strict):
    """A published system."""

    source: str = Field(description="where the results were published")
    note: str | None = None
    results: dict[str, Figures] = Field(min_length=1, description="by list")


class Published(Strict):
    """YAML file of published results."""

    lists: dict[str, TrialList] = Field(min_length=1)
    systems: dict[str, System] = Field(min_length=1)


class Comparison(NamedTuple):
    """Our evaluations beside the system ``reference``, and the ranking by EER of all trials."""

    reference: str
    list_name: str
    categories: Table
    ranking: Table
    remarks: list[str]

    def to_json(self) -> dict[str, Any]:
        """Return the ranking for JSON: rates as fractions, null if unknown."""
        keys = ("system", "eer", "min_dcf", "source")
        ranking = [
            dict(zip(keys, (str(name), eer.value, cost.value, source), strict=True))
            for name, eer, cost, source in self.ranking.rows
        ]
        return {"published": {"system": self.reference, "list": self.list_name}, "ranking": ranking}


def compare(
    path: str | Path, evaluations: Mapping[str, Evaluation], trial_list: str | None = None
) -> Comparison:
    """Compare our evaluations with the published results of a YAML file.

    By default, on the list with as many trials as our first system, or else on the first list. The
    first system with results on it is the reference.
    """
    published = load_settings(Published, path)
    for name, item in published.systems.items():
        for key in item.results:
            _require(published.lists, key, f"{path}: systems.{name}.results")
    sizes = {name: e.pooled.targets + e.pooled.nontargets for name, e in evaluations.items()}
    if trial_list is None:
        size = next(iter(sizes.values()))
        alike = [key for key, entry in published.lists.items() if entry.trials == size]
        if len(alike) > 1:
            raise TidyVoiceError(f"{path}: {', '.join(alike)} have {size:,} trials; give --list")
        trial_list = alike[0] if alike else next(iter(published.lists))
    _require(published.lists, trial_list, f"{path}: --list")
    systems = {key: item for key, item in published.systems.items() if trial_list in item.results}
    if not systems:
        raise TidyVoiceError(f"{path}: no system has results on {trial_list}; give --list")
    name, chosen = next(iter(systems)), published.lists[trial_list]
    remarks = [f"{name}: {chosen.name}; {systems[name].source}"]
    remarks += [f"{name}: {systems[name].note}"] if systems[name].note else []
    ranking: list[list[Cell]] = []
    for title, item in systems.items():
        figures = item.results[trial_list]
        values = percent(figures.eer.get(POOLED)), decimals(figures.min_dcf.get(POOLED))
        ranking.append([title, *values, item.source])
    for title, evaluation in evaluations.items():
        remarks.append(f"{title}: {'; '.join(map(describe, evaluation.lineage.steps))}")
        own = "ours"
        if chosen.trials not in (None, sizes[title]):
            own += f", on another list: {sizes[title]:,} trials"
            both = f"{sizes[title]:,} trials, but the published list has {chosen.trials:,}"
            remarks.append(f"{title}: {both}: results on different lists cannot be compared")
        values = percent(evaluation.pooled.eer), decimals(evaluation.pooled.min_dcf)
        ranking.append([marked(title, evaluation.lineage), *values, own])
    ranking.sort(key=lambda row: (row[1].value is None, row[1].value))
    table = Table(["system", "EER %", "minDCF", "source"], ranking, left=(3,))
    categories = _categories(name, systems[name].results[trial_list], evaluations)
    return Comparison(name, chosen.name, categories, table, remarks)


def _categories(name: str, figures: Figures, evaluations: Mapping[str, Evaluation]) -> Table:
    rates, costs = dict.fromkeys(KINDS) | figures.eer, {POOLED: None} | figures.min_dcf
    lines = [("EER %", "eer", percent, *item) for item in rates.items()]
    lines += [("minDCF", "min_dcf", decimals, *item) for item in costs.items()]
    rows = []
    for label, metric, write, category, published in lines:
        row: list[Cell] = [f"{label} {category}", write(published)]
        for evaluation in evaluations.values():
            value = getattr(evaluation.row(category), metric)
            row.append(str(write(value)))
            if None not in (value, published):
                row[-1] += f" ({replace(write(value - published), signed=True)})"
        rows.append(row)
    names = [str(marked(title, e.lineage)) for title, e in evaluations.items()]
    return Table(["", f"{name}, published", *names], rows)


def _require(entries: Mapping[str, Any], key: str, where: str) -> None:
    if key not in entries:
        raise TidyVoiceError(f"{where}: there is no {key!r}; take one of {', '.join(entries)}")
