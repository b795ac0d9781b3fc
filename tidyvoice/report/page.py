"""One self-contained HTML page about an experiment: no script, nothing fetched from elsewhere."""

from collections.abc import Sequence
from dataclasses import replace
from html import escape
from importlib import resources
from pathlib import Path

from tidyvoice.errors import TidyVoiceError
from tidyvoice.evaluation.categories import OPERATING_POINTS
from tidyvoice.files import refuse_inputs, write_text
from tidyvoice.report import sections
from tidyvoice.report.calibration_section import calibration_section
from tidyvoice.report.provenance import provenance_section
from tidyvoice.report.results import lead, results_section
from tidyvoice.report.system import System, SystemResult, examine, training_log
from tidyvoice.scoring.lineage import lineage_path
from tidyvoice.scoring.metrics import Costs

# The policy makes the promise binding: a browser fetches nothing for this page.
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{title}</title>
<style>
{style}
</style>
</head>
<body>
<main>
<header>
<h1>{title}</h1>
{lead}
<nav aria-label="Sections">{links}</nav>
</header>
{sections}
</main>
</body>
</html>
"""
LINKS = {
    "results": "Results",
    "errors": "Errors",
    "languages": "Languages",
    "calibration": "Calibration",
    "hardest": "Hardest",
    "training": "Training",
    "configuration": "Configuration",
    "provenance": "Provenance",
}


def style_sheet(name: str) -> str:
    """One of the style sheets beside this file."""
    return resources.files("tidyvoice.report").joinpath(name).read_text("utf-8")


def write_report(
    experiment: str | Path,
    systems: Sequence[System],
    out: str | Path,
    points: Sequence[Costs] = OPERATING_POINTS,
    resamples: int = 1000,
    seed: int = 1,
) -> list[SystemResult]:
    """Write the report of an experiment, whole or not at all; same input, same bytes.

    Args:
        experiment: the folder whose ``config.yaml`` is shown and whose name is the title.
        systems: the first is the main one; the others are compared with it.
        out: the page to write.
        points: priors and costs; curves and languages are shown at the first.
        resamples: of the speakers, for confidence intervals; 0 for none.
        seed: of the resamples.

    Returns:
        What the page shows of each system, in their order.

    Raises:
        TidyVoiceError: no systems, no operating points, a page that would replace what is read, or
            what ``examine`` raises: a score file that is missing, faulty or without labels, for
            example.
    """
    if not systems:
        raise TidyVoiceError("a report needs the scores of at least one system")
    if not points:
        raise TidyVoiceError("a report needs at least one operating point, such as Costs()")
    if resamples < 0:
        raise TidyVoiceError(f"resamples is {resamples}; it must not be negative")
    configuration = Path(experiment) / "config.yaml"
    read = [configuration]
    for system in systems:
        read += [system.scores_path, lineage_path(system.scores_path)]
        read += [*system.utt2lang_paths, *system.utt2spk_paths]
        read += [system.key_path] if system.key_path else []
        if system.experiment_path is not None:
            read.append(training_log(system.experiment_path))
    refuse_inputs([Path(out)], read)
    names = [system.name for system in systems]
    results = []
    for number, system in enumerate(systems):
        if names.count(system.name) > 1:
            # Folders of one name are told apart by their path.
            system = replace(system, name=str(system.scores_path))
        results.append(examine(system, points, resamples, seed, main=number == 0))
    # Several score files of one experiment have one training log.
    trained = list({result.experiment_path: result for result in reversed(results)}.values())[::-1]
    body = [
        results_section(results, points, resamples),
        sections.errors_section(results),
        sections.languages_section(results[0], points[0]),
        calibration_section(results, points),
        sections.hardest_section(results[0]),
        *(sections.training_section(r, n, len(trained) == 1) for n, r in enumerate(trained, 1)),
        sections.configuration_section(configuration),
        provenance_section(results),
    ]
    page = PAGE.format(
        title=escape(Path(experiment).resolve().name),
        style=style_sheet("colours.css") + "\n" + style_sheet("style.css"),
        lead=lead(results),
        links=" ".join(f'<a href="#{name}">{title}</a>' for name, title in LINKS.items()),
        sections="\n".join(body),
    )
    write_text(out, page)
    return results
