"""One self-contained HTML page about an experiment: no script, nothing loaded from elsewhere."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from tidyvoice.evaluation import tables
from tidyvoice.evaluation.bootstrap import LEVEL
from tidyvoice.evaluation.evaluate import Evaluation
from tidyvoice.files import refuse_inputs, write_text
from tidyvoice.record import package_versions, source_state
from tidyvoice.report.drawing import style_sheet
from tidyvoice.report.figures import bayes_error_picture, det_picture, reliability_picture
from tidyvoice.report.system import Result, System, evaluate_system
from tidyvoice.report.training_log import log_path
from tidyvoice.scoring.lineage import source
from tidyvoice.scoring.provenance import FLAWS, describe

KEPT = ("embeddings", "models")  # folders in which the page replaces no file


def template(package: str, name: str, **filters: Any) -> Template:
    """Return a template of a sub-package; in HTML, its values are escaped."""
    options = {"undefined": StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    loader, html = PackageLoader("tidyvoice", package), name.endswith(".html")
    environment = Environment(loader=loader, autoescape=html, **options)
    environment.filters |= filters
    return environment.get_template(name)


def write_report(
    experiment: str | Path, systems: Sequence[System], out: str | Path, resamples: int = 1000
) -> dict[str, Evaluation]:
    """Write the report of an experiment; return the evaluations by names on the page.

    The first system is the main one. The same input gives the same bytes.
    """
    configuration = Path(experiment) / "config.yaml"
    inputs = [configuration]
    for system in systems:
        inputs += [path for paths in system.file.files().values() for path in paths]
        if folder := system.experiment:
            inputs += [log_path(folder), *(folder / name for name in KEPT)]
    refuse_inputs([Path(out)], inputs)
    names = [system.name for system in systems]
    results = []
    for number, system in enumerate(systems, 1):
        # Folders of one name are told apart by their paths.
        name = system.name if names.count(system.name) == 1 else str(system.file.path)
        results.append(evaluate_system(system, name, number, resamples))
    main, evaluation = results[0], results[0].evaluation
    evaluations = {result.name: result.evaluation for result in results}
    rates = {result.name: result.rates for result in results}
    errors = {result.name: result.bayes_error for result in results}
    bins = {r.name: r.reliability for r in results if r.reliability}
    # Score files of one experiment share a training.
    trained: dict[Path | None, Result] = {}
    for result in results:
        trained.setdefault(result.system.experiment, result)
    marks = [-at.threshold for at in evaluation.points]
    title = f"Reliability of {main.name}"
    text = template("report", "page.html").render(
        title=Path(experiment).resolve().name,
        style=style_sheet("colours.css") + "\n" + style_sheet("style.css"),
        results=results,
        main=main,
        **main.details,
        det_systems=det_picture("det-systems", "DET curves by system", rates),
        reliability=reliability_picture("reliability", title, bins) if main.reliability else None,
        bayes_error=bayes_error_picture("bayes-error", "Normalised Bayes error", errors, marks),
        summary=tables.systems_table(evaluations),
        categories=tables.categories_table(evaluation, evaluation.lineage.calibrated),
        pairs=tables.languages_table(evaluation.pairs),
        languages=tables.languages_table(evaluation.languages),
        trained=list(trained.values()),
        resamples=resamples,
        level=f"{100 * LEVEL:g}",
        settings=configuration.read_text("utf-8", "replace") if configuration.is_file() else None,
        versions=_versions(results),
        flaws=FLAWS,
        describe=describe,
        percent=tables.percent,
        decimals=tables.decimals,
    )
    write_text(out, text)
    return evaluations


def _versions(results: Sequence[Result]) -> list[tuple[str, str]]:
    """Return versions of the packages and of this source tree, and checksums of the trials."""
    state = source_state()
    lines = list(package_versions().items())
    lines.insert(2, ("revision", str(state) if state else "not a checkout of the source"))
    lines += [(f"trials of {r.name}, sha256", r.evaluation.trials) for r in results]
    for result in results:
        if trials := result.system.file.trials:
            lines.append((f"labels of {result.name}", describe(source("labels", trials))))
    return lines
