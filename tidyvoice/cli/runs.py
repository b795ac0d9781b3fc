"""The command that lists experiments."""

import json
from pathlib import Path
from typing import Annotated

import typer

from tidyvoice.cli.app import AsJson, command


@command()
def runs(
    folders: Annotated[
        list[Path] | None, typer.Argument(show_default="exp", help="folders with experiments")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the experiments below folders, best EER first, with the settings that differ.

    Example: tidyvoice runs exp/mini/pretrain exp/mini/finetune
    """
    from tidyvoice.runs import find_experiments, list_experiments

    listing = list_experiments(find_experiments(folders or [Path("exp")]))
    typer.echo(json.dumps(listing.to_json(), default=str) if as_json else listing.to_text())
