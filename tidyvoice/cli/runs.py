"""The command that lists experiments."""

from pathlib import Path
from typing import Annotated

import typer

from tidyvoice.cli.common import AsJson, command, emit


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
    emit(as_json, listing.to_json(), [listing.to_text()])
