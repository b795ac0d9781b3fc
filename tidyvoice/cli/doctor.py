"""Command that checks the machine and the data before a training."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from tidyvoice.cli.common import AsJson, command, emit


@command()
def doctor(
    data: Annotated[
        list[Path] | None, typer.Option(help="data folder that is evaluated (repeatable)")
    ] = None,
    train: Annotated[
        list[Path] | None,
        typer.Option(help="data folder that is packed for a training (repeatable)"),
    ] = None,
    exp: Annotated[Path | None, typer.Option(help="folder for the embeddings of --data")] = None,
    trials: Annotated[list[Path] | None, typer.Option(help="trial list (repeatable)")] = None,
    expect: Annotated[Path | None, typer.Option(help="YAML file of expected counts")] = None,
    as_json: AsJson = False,
) -> None:
    """Check packages, ffmpeg, device, data folders, counts, and disk space.

    Each line is OK, WARN or FAIL and says what is wrong, where, and what to do. The exit status is
    1 if a check fails. To check a training's settings, use tidyvoice train --check.

    Example: tidyvoice doctor --train data/mini/finetune --data data/mini/dev
    """
    from tidyvoice.doctor import examine

    groups = examine(data or [], train or [], exp, trials or [], expect)
    counted = Counter(finding.status for findings in groups.values() for finding in findings)
    summary = {status: counted[status] for status in ("OK", "WARN", "FAIL")}
    rows, lines = [], []
    for group, findings in groups.items():
        rows += [{"group": group, **asdict(finding)} for finding in findings]
        lines += [group, *map(str, findings), ""] if findings else []
    lines.append(", ".join(f"{number} {status}" for status, number in summary.items()))
    emit(as_json, {"findings": rows, "summary": summary}, lines)
    if summary["FAIL"]:
        raise typer.Exit(1)
