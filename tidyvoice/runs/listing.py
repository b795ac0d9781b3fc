"""One table of several experiments: what they were made with and what came of it."""

import json
import math
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tidyvoice.evaluation.tables import align, decimals, percent
from tidyvoice.runs.experiments import Experiment, told
from tidyvoice.runs.results import Result, measure
from tidyvoice.settings import differences

USUAL = ("dev", "dev-llr")  # what the recipes report
NONE = "-"


@dataclass(frozen=True)
class Listing:
    """Experiments, the best first.

    Attributes:
        settings: dotted keys of those settings that are not the same in all of them.
        lists: names of the score files that are shown.
        results: by experiment and by name of the score file.
    """

    experiments: list[Experiment]
    settings: list[str]
    lists: list[str]
    results: dict[str, dict[str, Result]]


def list_experiments(experiments: Sequence[Experiment], every: bool = False) -> Listing:
    """Measure the labelled scores of the experiments and sort them: by EER, then by name.

    The EER is that of the first list; those without it follow, by the next list.

    Args:
        every: all their score files, not only those of ``USUAL``.
    """
    results: dict[str, dict[str, Result]] = {}
    for experiment in experiments:
        measured = {
            name: told(measure, path)
            for name, path in experiment.scores.items()
            if every or name in USUAL
        }
        results[experiment.name] = {name: found for name, found in measured.items() if found}
    names = {name for measured in results.values() for name in measured}
    lists = [name for name in USUAL if name in names]
    lists += sorted(names.difference(USUAL))

    def rank(experiment: Experiment) -> tuple[list[float], str]:
        measured = results[experiment.name]
        eers = [measured[name].eer if name in measured else math.inf for name in lists]
        return eers, experiment.name

    first, *others = experiments
    settings = {key for other in others for key in differences(first.settings, other.settings)}
    return Listing(sorted(experiments, key=rank), sorted(settings), lists, results)


def to_row(listing: Listing, experiment: Experiment) -> dict[str, Any]:
    """An experiment for JSON: rates as fractions, null for what is not known."""
    progress, record = experiment.progress, experiment.record
    return {
        "experiment": experiment.name,
        "step": progress and progress.step,
        "steps": experiment.steps,
        "loss": progress.loss if progress and math.isfinite(progress.loss) else None,
        "utterances_per_second": progress and progress.utterances_per_second,
        "settings": {key: experiment.settings.get(key) for key in listing.settings},
        "results": {
            name: found.model_dump() for name, found in listing.results[experiment.name].items()
        },
        "record": [run.model_dump(mode="json") for run in record],
    }


def to_json(listing: Listing) -> dict[str, Any]:
    """The listing for JSON."""
    return {"experiments": [to_row(listing, one) for one in listing.experiments]}


def format_listing(listing: Listing, width: int) -> str:
    """The table, and below it what must be known to read it.

    Settings are columns of the table if it fits into ``width`` characters with them; else they
    stand below it.
    """
    head = [f"{what} {name}" for name in listing.lists for what in ("EER %", "minDCF")]
    lines = [["experiment", *head, "step", "loss", "utt/s", "commit", "begun (UTC)"]]
    for one in listing.experiments:
        line = [one.name]
        for name in listing.lists:
            line += result_cells(listing.results[one.name].get(name))
        lines.append([*line, *progress_cells(one), ", ".join(one.sources) or NONE, begun_cell(one)])
    cells = [[setting_cell(one, key) for key in listing.settings] for one in listing.experiments]
    rows = [listing.settings, *cells]
    whole = align([[*line, *row] for line, row in zip(lines, rows, strict=True)])
    if max(map(len, whole.splitlines())) <= width:
        return "\n".join([whole, *_remarks(listing)])
    names = [one.name for one in listing.experiments]
    below = _settings_below(names, listing.settings, cells, width)
    return "\n".join([align(lines), *_remarks(listing), "", *below])


def _settings_below(
    names: Sequence[str], keys: Sequence[str], cells: Sequence[Sequence[str]], width: int
) -> list[str]:
    """Of each setting the most frequent value, then what each experiment has instead.

    Args:
        cells: values of the experiments, a row each, in the order of the keys.
    """
    usual = [Counter(column).most_common(1)[0][0] for column in zip(*cells, strict=True)]
    told = [("settings of most", dict(zip(keys, usual, strict=True)))]
    for name, row in zip(names, cells, strict=True):
        of_all = zip(keys, row, usual, strict=True)
        told.append((name, {key: value for key, value, most in of_all if value != most}))
    return [
        textwrap.fill(
            f"{name}: {', '.join(f'{key}={value}' for key, value in own.items()) or 'as most'}",
            width,
            subsequent_indent="    ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for name, own in told
    ]


def progress_cells(experiment: Experiment) -> list[str]:
    """Step of steps, loss, utterances a second."""
    progress, steps = experiment.progress, experiment.steps
    of = "?" if steps is None else str(steps)
    if progress is None:
        return [f"0/{of}", NONE, NONE]
    speed = progress.utterances_per_second
    shown = NONE if speed is None else f"{speed:.0f}"
    return [f"{progress.step}/{of}", f"{progress.loss:.3f}", shown]


def setting_cell(experiment: Experiment, key: str) -> str:
    """A setting as its YAML file has it; ``NONE`` where it is not there."""
    return value_cell(experiment.settings[key]) if key in experiment.settings else NONE


def value_cell(value: object) -> str:
    """A value as a YAML file has it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def result_cells(result: Result | None) -> list[str]:
    """EER in percent and minDCF; a star marks those that may flatter."""
    if result is None:
        return [NONE, NONE]
    star = star_of(result)
    return [percent(result.eer) + star, decimals(result.min_dcf) + star]


def star_of(result: Result | None) -> str:
    """A star for a result that is in sample or confounded."""
    return "*" if result and (result.in_sample or result.confounded) else ""


def begun_cell(experiment: Experiment) -> str:
    """When it was begun."""
    return f"{experiment.record[0].when:%Y-%m-%d %H:%M}" if experiment.record else NONE


def star_remarks(listing: Listing) -> list[str]:
    """What the stars stand for."""
    return [
        f"* {kind}: {one.name}, {name}: {said}"
        for one in listing.experiments
        for name, found in listing.results[one.name].items()
        for kind, reasons in (("IN-SAMPLE", found.in_sample), ("CONFOUNDED", found.confounded))
        for said in reasons
    ]


def other_lists_remark(listing: Listing, name: str) -> str | None:
    """A warning where scores of one name are not of the same trials."""
    found = [listing.results[one.name].get(name) for one in listing.experiments]
    kinds = len({result.trials for result in found if result})
    return f"{name}: {kinds} different lists of trials; do not compare them" if kinds > 1 else None


def _remarks(listing: Listing) -> list[str]:
    others = [other_lists_remark(listing, name) for name in listing.lists]
    return [*star_remarks(listing), *filter(None, others)]
