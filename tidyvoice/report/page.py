"""One self-contained HTML page about an experiment: no script, nothing loaded from elsewhere."""

from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from itertools import pairwise
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from scipy.special import expit

from tidyvoice.errors import TidyVoiceError
from tidyvoice.evaluation.bootstrap import LEVEL
from tidyvoice.evaluation.categories import POOLED
from tidyvoice.evaluation.evaluate import Evaluation
from tidyvoice.evaluation.tables import (
    Table,
    categories_table,
    count,
    decimals,
    languages_table,
    percent,
    systems_table,
)
from tidyvoice.files import refuse_inputs, write_text
from tidyvoice.record import package_versions, source_state
from tidyvoice.report import figures
from tidyvoice.report.curves import LLR_EDGES, Reliability
from tidyvoice.report.drawing import Picture
from tidyvoice.report.matrix import matrix_picture
from tidyvoice.report.system import System, SystemFigures, draw
from tidyvoice.report.training_log import log_path
from tidyvoice.scoring.lineage import source
from tidyvoice.scoring.provenance import FLAWS, describe


def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("tidyvoice", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"percent": percent, "decimals": decimals, "table_of": categories_table}
    environment.globals |= {"describe": describe, "flaws": FLAWS}
    return environment.get_template("page.html")


def style_sheet(name: str) -> str:
    """Return one of the style sheets beside this file."""
    return resources.files("tidyvoice.report").joinpath(name).read_text("utf-8")


def write_report(
    experiment: str | Path, systems: Sequence[System], out: str | Path, resamples: int = 1000
) -> dict[str, Evaluation]:
    """Write the report of an experiment, whole or not at all. Same input, same bytes.

    Args:
        experiment: the folder whose ``config.yaml`` is shown and whose name is the title.
        systems: the first is the main one; the others are compared with it.
        out: the page to write.
        resamples: of the speakers, for confidence intervals; 0 for none.

    Returns:
        The evaluations by the names that the page gives the systems.

    Raises:
        TidyVoiceError: no systems, a page that would replace a file that is read, or a score file
            that cannot be evaluated.
    """
    if not systems:
        raise TidyVoiceError("a report needs the scores of at least one system")
    configuration = Path(experiment) / "config.yaml"
    inputs = [configuration]
    for system in systems:
        inputs += [path for paths in system.file.files().values() for path in paths]
        inputs += [log_path(system.experiment)] if system.experiment else []
    refuse_inputs([Path(out)], inputs)
    names = [system.name for system in systems]
    results = []
    for number, system in enumerate(systems):
        if names.count(system.name) > 1:
            # Folders of one name are told apart by their paths.
            system = replace(system, name=str(system.file.path))
        results.append(draw(system, resamples, main=number == 0))
    main = results[0]
    evaluations = {result.name: result.evaluation for result in results}
    # Several score files of one experiment have one training log.
    trained = list({result.experiment: result for result in reversed(results)}.values())[::-1]
    text = _template().render(
        title=Path(experiment).resolve().name,
        style=style_sheet("colours.css") + "\n" + style_sheet("style.css"),
        results=results,
        main=main,
        points=main.evaluation.points,
        resamples=resamples,
        level=f"{100 * LEVEL:g}",
        summary=systems_table(evaluations),
        error_pictures=_error_pictures(results),
        matrix=_matrix(main),
        pairs=languages_table(main.evaluation.pairs),
        languages=languages_table(main.evaluation.languages),
        calibration_pictures=_calibration_pictures(results),
        reliability=_bins(main.reliability) if main.reliability else None,
        trained=[(result, _training_pictures(result, len(trained) == 1)) for result in trained],
        curve_points=figures.CURVE_POINTS,
        settings=configuration.read_text(encoding="utf-8", errors="replace")
        if configuration.is_file()
        else None,
        versions=_versions(results),
    )
    write_text(out, text)
    return evaluations


def _error_pictures(results: Sequence[SystemFigures]) -> dict[str, Picture]:
    main, *others = results
    title = f"DET curves of {main.name}"
    pictures = {"det": figures.det_picture("det", title, figures.named(main.det))}
    pictures["scores"] = _histogram(main, "scores")
    if others:
        curves = {result.name: result.det[POOLED] for result in results}
        pictures["systems"] = figures.det_picture("det-systems", "DET curves by system", curves)
    for number, other in enumerate(others, 2):
        name = f"scores-{number}"
        pictures[name] = _histogram(other, name)
    return pictures


def _histogram(result: SystemFigures, name: str) -> Picture:
    title = f"Scores of {result.name}"
    return figures.histogram_picture(name, title, result.edges, result.histograms, result.threshold)


def _matrix(main: SystemFigures) -> Picture | None:
    if not main.evaluation.languages:
        return None
    names = [row.languages[0] for row in main.evaluation.languages]
    title = f"EER of {main.name} by pair of languages"
    return matrix_picture("languages-matrix", title, names, main.evaluation.pairs)


def _calibration_pictures(results: Sequence[SystemFigures]) -> dict[str, Picture]:
    main, points = results[0], results[0].evaluation.points
    threshold = points[0].threshold
    pictures = {}
    if main.reliability is not None:
        shown = {r.name: r.reliability for r in results if r.reliability is not None}
        pictures["reliability"] = figures.reliability_picture(
            "reliability", f"Reliability of {main.name}", shown
        )
    pictures["cost"] = figures.cost_picture(
        "cost",
        f"Cost of {main.name} by threshold",
        figures.named(main.costs),
        threshold if main.evaluation.calibrated else None,
    )
    pictures["bayes_error"] = figures.bayes_error_picture(
        "bayes-error",
        "Normalised Bayes error",
        {result.name: result.bayes_error for result in results},
        [-at.threshold for at in points],
    )
    calibrated = {r.name: r.costs[POOLED] for r in results if r.evaluation.calibrated}
    if len(calibrated) > 1:
        pictures["systems"] = figures.cost_picture(
            "cost-systems", "Cost by threshold", calibrated, threshold
        )
    return pictures


def _bins(bins: Reliability) -> Table:
    edges = [f"{edge:g}".replace("-", "−") for edge in LLR_EDGES]
    names = [f"below {edges[0]}", *(f"{low} to {high}" for low, high in pairwise(edges))]
    rows = []
    for name, targets, nontargets, *odds in zip(
        [*names, f"{edges[-1]} and above"],
        bins.targets.tolist(),
        bins.nontargets.tolist(),
        bins.predicted.tolist(),
        bins.observed.tolist(),
        strict=True,
    ):
        shares = [None if np.isnan(value) else percent(float(expit(value))) for value in odds]
        rows.append([name, count(targets), count(nontargets), *shares])
    head = ["Log-likelihood ratio", "Targets", "Non-targets"]
    return Table([*head, "Predicted targets (%)", "Observed targets (%)"], rows)


def _training_pictures(result: SystemFigures, alone: bool) -> list[Picture]:
    slug = "".join(letter if letter.isalnum() else "-" for letter in result.name)
    prefix = "training" if alone else f"training-{slug}"
    return figures.training_pictures(prefix, result.log) if result.log else []


def _versions(results: Sequence[SystemFigures]) -> list[tuple[str, str]]:
    """Return versions of the packages and of this source tree, and checksums of the trials."""
    state = source_state()
    lines = list(package_versions().items())
    lines.insert(2, ("revision", str(state) if state else "not a checkout of the source"))
    lines += [(f"trials of {r.name}, sha256", r.evaluation.trials) for r in results]
    lines += [
        (f"labels of {r.name}", describe(source("labels", r.file.trials)))
        for r in results
        if r.file.trials
    ]
    return lines
