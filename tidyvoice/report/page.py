"""One self-contained HTML page about an experiment: no script, nothing fetched from elsewhere."""

import base64
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from importlib import resources
from pathlib import Path

from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import write_text
from tidyvoice.report.figures import (
    CURVE_POINTS,
    Picture,
    det_picture,
    histogram_picture,
    training_pictures,
)
from tidyvoice.report.provenance import versions
from tidyvoice.report.system import System, SystemResult, examine
from tidyvoice.scoring.categories import CATEGORIES, POOLED, Costs, count, decimals, percent

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
</header>
{sections}
</main>
</body>
</html>
"""


def write_report(
    experiment: str | Path,
    systems: Sequence[System],
    out: str | Path,
    costs: Costs | None = None,
) -> list[SystemResult]:
    """Write the report of an experiment, whole or not at all; same input, same bytes.

    Args:
        experiment: the folder whose ``config.yaml`` is shown and whose name is the title.
        systems: the first is the main one; the others are compared with it.
        out: the page to write.
        costs: prior and costs of minDCF; ``Costs()`` by default.

    Returns:
        What the page shows of each system, in their order.

    Raises:
        TidyVoiceError: no systems, or a score file that is missing, faulty or without labels.
    """
    if not systems:
        raise TidyVoiceError("a report needs the scores of at least one system")
    costs = costs or Costs()
    names = [system.name for system in systems]
    results = [
        examine(
            # Folders of one name are told apart by their path.
            system
            if names.count(system.name) == 1
            else replace(system, name=str(system.scores_path)),
            costs,
        )
        for system in systems
    ]
    config = Path(experiment) / "config.yaml"
    sections = [
        _section("Results", _summary(results, costs) + _categories(results[0])),
        _section("Error trade-off and scores", _curves(results)),
        *(_training(result, alone=len(results) == 1) for result in results),
        _section("Configuration", _configuration(config)),
        _section("Provenance", _provenance(results)),
    ]
    pooled = results[0].rows[0]
    lead = (
        f'<p class="lead"><strong>EER {percent(pooled.eer)} %</strong>, minDCF '
        f"{decimals(pooled.min_dcf)} on {pooled.targets + pooled.nontargets:,} trials.</p>"
    )
    page = PAGE.format(
        title=escape(Path(experiment).resolve().name),
        style=resources.files("tidyvoice.report").joinpath("style.css").read_text("utf-8"),
        lead=lead,
        sections="\n".join(sections),
    )
    write_text(out, page)
    return results


def _section(title: str, body: str) -> str:
    return f"<section>\n<h2>{escape(title)}</h2>\n{body}\n</section>"


def _absent(text: str) -> str:
    return f'<p class="absent">{escape(text)}</p>'


def _scroll(table: str, label: str) -> str:
    # Focusable, so that a keyboard can scroll it.
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{label}">{table}</div>'


def _summary(results: Sequence[SystemResult], costs: Costs) -> str:
    head = "".join(f'<th scope="col">{category}</th>' for category in CATEGORIES)
    body = []
    for number, result in enumerate(results):
        pooled, *others = result.rows
        cells = [percent(pooled.eer), decimals(pooled.min_dcf)]
        cells += [percent(row.eer) for row in others]
        cells.append(f"{pooled.targets + pooled.nontargets:,}")
        kind = ' class="main"' if number == 0 and len(results) > 1 else ""
        body.append(
            f'<tr{kind}><th scope="row">{escape(result.name)}</th>'
            + "".join(f"<td>{cell}</td>" for cell in cells)
            + "</tr>"
        )
    lists = {result.checksum for result in results}
    note = " The systems were scored on different trial lists." if len(lists) > 1 else ""
    table = f"""<table class="wide" id="summary">
<thead><tr><th scope="col" rowspan="2">System</th><th scope="col" rowspan="2">EER</th>
<th scope="col" rowspan="2">minDCF</th><th scope="colgroup" colspan="4" class="span">
<span>EER by category, targets/non-targets</span></th><th scope="col" rowspan="2">Trials</th></tr>
<tr>{head}</tr></thead>
<tbody>{"".join(body)}</tbody></table>"""
    return f"""{_scroll(table, "Summary")}
<p class="note">EER in percent and normalised minDCF (P<sub>target</sub> {costs.p_target:g},
C<sub>miss</sub> {costs.c_miss:g}, C<sub>fa</sub> {costs.c_fa:g}). A category sets target trials in
the same or in different languages against non-target trials in the same or in different
languages.{note}</p>
"""


def _categories(result: SystemResult) -> str:
    body = "".join(
        f'<tr><th scope="row">{row.category}</th><td>{count(row.targets)}</td>'
        f"<td>{count(row.nontargets)}</td><td>{percent(row.eer)}</td>"
        f"<td>{decimals(row.min_dcf)}</td></tr>"
        for row in result.rows
    )
    table = f"""<table id="categories"><thead><tr><th scope="col">Targets/non-targets</th>
<th scope="col">Targets</th><th scope="col">Non-targets</th><th scope="col">EER</th>
<th scope="col">minDCF</th></tr></thead><tbody>{body}</tbody></table>"""
    note = ""
    if result.rows[1].targets is None:
        note = _absent("No languages: neither a utt2lang file nor ids speaker/LANGUAGE/file.")
    return f"<h3>{escape(result.name)}, by category</h3>\n{_scroll(table, 'By category')}{note}"


def _curves(results: Sequence[SystemResult]) -> str:
    main = results[0]
    names = {POOLED: "all trials"}
    curves = {names.get(category, category): curve for category, curve in main.det.items()}
    figures = [
        (
            det_picture("det", f"DET curves of {main.name}", curves, pooled=True),
            f"DET curves of {main.name}, targets/non-targets, on probit axes; the legend gives "
            "the EER in percent, where a curve meets the diagonal.",
        ),
        (
            histogram_picture("scores", f"Scores of {main.name}", main.edges, main.histograms),
            f"Scores of {main.name} by kind of trial; each kind has unit area.",
        ),
    ]
    if len(results) > 1:
        pooled = {result.name: result.det[POOLED] for result in results}
        picture = det_picture("det-systems", "DET curves by system", pooled, pooled=False)
        figures.append((picture, "DET curves of the systems, all trials."))
        figures += [
            (
                histogram_picture(
                    f"scores-{number}", f"Scores of {other.name}", other.edges, other.histograms
                ),
                f"Scores of {other.name} by kind of trial; each kind has unit area.",
            )
            for number, other in enumerate(results[1:], 2)
        ]
    return _grid(figures)


def _training(result: SystemResult, alone: bool) -> str:
    title = "Training" if alone else f"Training of {result.name}"
    if result.log is None:
        return _section(title, _absent("No training log."))
    prefix = "training" if alone else f"training-{_slug(result.name)}"
    pictures = training_pictures(prefix, result.log)
    steps = len(result.log.iteration)
    body = _grid([(picture, "") for picture in pictures])
    body += f'<p class="note">{steps:,} logged steps, the last at iteration '
    body += f"{result.log.iteration[-1]:,}; at most {CURVE_POINTS} of them are drawn.</p>"
    if result.log.unreadable:
        body += _absent(f"{result.log.unreadable:,} unreadable lines of the log are left out.")
    return _section(title, body)


def _grid(figures: Sequence[tuple[Picture, str]]) -> str:
    return '<div class="figures">' + "".join(_figure(*figure) for figure in figures) + "</div>"


def _figure(picture: Picture, caption: str) -> str:
    data = base64.b64encode(picture.plain.encode()).decode()
    return (
        f'<figure id="{picture.name}">{picture.inline}<figcaption><span>{escape(caption)}</span>'
        f'<a class="download" download="{picture.name}.svg" '
        f'href="data:image/svg+xml;base64,{data}">SVG</a></figcaption></figure>'
    )


def _configuration(path: Path) -> str:
    if not path.is_file():
        return _absent("No config.yaml.")
    text = escape(path.read_text(encoding="utf-8", errors="replace"))
    return (
        f"<details><summary>config.yaml, every setting as resolved</summary>"
        f"<pre><code>{text}</code></pre></details>"
    )


def _provenance(results: Sequence[SystemResult]) -> str:
    lines = versions()
    for result in results:
        lines.append((f"trials of {result.name}, sha256", result.checksum))
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td class="text"><code>{escape(value)}</code></td>'
        "</tr>"
        for name, value in lines
    )
    command = f"cut -d' ' -f1,2,4 {results[0].scores_path.name} | sha256sum"
    return (
        f'<div class="scroll"><table class="plain wide" id="provenance"><tbody>{body}</tbody>'
        f"</table></div>"
        f'<p class="note">The trials are hashed as <code>enroll test target|nontarget</code>,'
        f" one a line: <code>{escape(command)}</code></p>"
    )


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name)
