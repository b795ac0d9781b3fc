"""What a result was made with: versions of the packages and of this source tree, and its data."""

from collections.abc import Sequence
from html import escape

from tidyvoice.record import package_versions, source_state
from tidyvoice.report.markup import note, row, section
from tidyvoice.report.system import SystemResult
from tidyvoice.scoring.lineage import source
from tidyvoice.scoring.provenance import FLAWS, Step, describe


def provenance_section(results: Sequence[SystemResult]) -> str:
    """Versions, checksums of the trials, and the steps that made each system's scores."""
    lines = versions()
    lines += [(f"trials of {result.name}, sha256", result.checksum) for result in results]
    lines += [
        (f"labels of {result.name}", describe(source("labels", result.key_path)))
        for result in results
        if result.key_path
    ]
    body = "".join(
        row([escape(key), f"<code>{escape(text)}</code>"], ["", ' class="text"'])
        for key, text in lines
    )
    scores = results[0].scores_path.name
    command = f"cut -d' ' -f1,2,4 {scores} | sha256sum"
    if scores.endswith(".gz"):
        command = f"gzip -dc {scores} | cut -d' ' -f1,2,4 | sha256sum"
    text = (
        f'<div class="scroll"><table class="plain wide" id="versions"><tbody>{body}</tbody>'
        "</table></div>"
    )
    text += note(
        "The trials are hashed as <code>enroll test target|nontarget</code>, one a line"
        + ("." if results[0].key_path else f": <code>{escape(command)}</code>")
    )
    for result in results:
        text += f"\n<h3>How the scores of {escape(result.name)} were made</h3>\n"
        text += f'<ol class="steps">{"".join(map(_step, result.lineage.steps))}</ol>'
    return section("provenance", "Provenance", text)


def _step(step: Step) -> str:
    items = [
        f"<li>{escape(record.role)}: <code>{escape(describe(record))}</code></li>"
        for record in step.inputs
    ]
    for remark in step.remarks:
        if remark.kind in FLAWS:
            title = FLAWS[remark.kind].title
            items.append(
                f'<li class="flaw"><strong>{title}</strong>: {escape(describe(remark))}</li>'
            )
        else:
            items.append(f"<li>Not checked: {escape(describe(remark))}</li>")
    inner = f"<ul>{''.join(items)}</ul>" if items else ""
    return f"<li>{escape(describe(step))}{inner}</li>"


def versions() -> list[tuple[str, str]]:
    """Name and version of Python and of each package, and of this source tree."""
    source = source_state()
    lines = list(package_versions().items())
    lines.insert(2, ("revision", str(source) if source else "not a checkout of the source"))
    return lines
