"""Commands for the challenge."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from tidyvoice.cli.app import AsJson, app
from tidyvoice.errors import one_line_errors


@app.command()
@one_line_errors()
def submission(
    scores_a: Annotated[Path, typer.Option(help="scores of list A")],
    scores_u: Annotated[Path, typer.Option(help="scores of list U")],
    trials_a: Annotated[Path, typer.Option(help="the challenge's tv26_eval-A.txt")],
    trials_u: Annotated[Path, typer.Option(help="the challenge's tv26_eval-U.txt")],
    out: Annotated[Path, typer.Option(help="zip to write")],
    any_count: Annotated[
        bool, typer.Option("--any-count", help="allow lists of another length")
    ] = False,
    name: Annotated[str | None, typer.Option(help="name of the system in the output")] = None,
    as_json: AsJson = False,
) -> None:
    """Pack the scores of both evaluation lists into the challenge's zip.

    The scores must be those of the lists, in their order. The command prints which system made
    each file. The same scores give the same bytes.

    Example: tidyvoice submission --scores-a A.score --scores-u U.score
    --trials-a tv26_eval-A.txt --trials-u tv26_eval-U.txt --out submission.zip
    """
    from tidyvoice.submission import write_submission

    scores, trials = {"A": scores_a, "U": scores_u}, {"A": trials_a, "U": trials_u}
    archive = write_submission(out, scores, trials, any_count)
    if as_json:
        row = asdict(archive)
        typer.echo(json.dumps({"submission": str(row.pop("out")), **row}))
        return
    for file, count in archive.lines.items():
        system = archive.systems[file]
        typer.echo(f"{file}: {f'{name}, {system}' if name else system}; {count:,} scores")
    typer.echo(f"{out}: read back and equal; SHA-256 {archive.sha256}")
