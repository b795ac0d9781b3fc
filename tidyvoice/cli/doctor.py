"""The command that looks at machine and data before hours are spent on them."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from tidyvoice.cli.app import AsJson, app
from tidyvoice.errors import one_line_errors


@app.command()
@one_line_errors()
def doctor(
    data: Annotated[
        list[Path] | None, typer.Option(help="data folder (repeatable), beside the configs' own")
    ] = None,
    config: Annotated[
        list[Path] | None, typer.Option(help="YAML file of a training (repeatable)")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="key=value for each config (repeatable)")
    ] = None,
    exp: Annotated[
        Path | None, typer.Option(help="folder to be written; else those of the configs")
    ] = None,
    trials: Annotated[list[Path] | None, typer.Option(help="trial list (repeatable)")] = None,
    expect: Annotated[
        Path | None, typer.Option(help="YAML file of the counts that are expected")
    ] = None,
    sample: Annotated[
        int, typer.Option(min=0, help="headers to look at in each data folder, chosen evenly")
    ] = 200,
    audio: Annotated[
        bool, typer.Option("--audio", help="look at the header of every file")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Look at program, device, disk and data, and say what stands in the way of a training.

    Each line is OK, WARN or FAIL, with the measured value, the expected one and the mend. The exit
    status is 1 if anything fails.

    Example: tidyvoice doctor --config conf/mini/finetune.yaml --data data/mini/dev
    """
    from tidyvoice.doctor import MEANINGS, count, examine, load_expected

    groups = examine(
        data or [],
        config or [],
        settings or [],
        exp,
        trials or [],
        load_expected(expect),
        None if audio else sample,
    )
    numbers = count(finding for found in groups.values() for finding in found)
    if as_json:
        rows = [
            {"group": group, **asdict(finding)}
            for group, found in groups.items()
            for finding in found
        ]
        typer.echo(json.dumps({"findings": rows, "summary": numbers}))
    else:
        for group, found in groups.items():
            for line in [group, *map(str, found), ""] if found else []:
                typer.echo(line)
        summary = [f"{number} {status} ({MEANINGS[status]})" for status, number in numbers.items()]
        typer.echo(", ".join(summary))
    if numbers["FAIL"]:
        raise typer.Exit(1)
