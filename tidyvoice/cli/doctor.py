"""Command that checks the machine and the data before a training."""

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from tidyvoice.cli.app import AsJson, command


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
    if as_json:
        rows = [
            {"group": group, **asdict(finding)}
            for group, findings in groups.items()
            for finding in findings
        ]
        typer.echo(json.dumps({"findings": rows, "summary": summary}))
    else:
        for group, findings in groups.items():
            for line in [group, *map(str, findings), ""] if findings else []:
                typer.echo(line)
        typer.echo(", ".join(f"{number} {status}" for status, number in summary.items()))
    if summary["FAIL"]:
        raise typer.Exit(1)
