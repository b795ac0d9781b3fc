"""The command that sets experiments beside one another."""

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from tidyvoice.cli.app import AsJson, Speakers, app
from tidyvoice.errors import one_line_errors

WIDTH = 120  # of the table where no terminal tells its own


@app.command()
@one_line_errors()
def runs(
    folders: Annotated[
        list[Path] | None, typer.Argument(help="folders that hold experiments; exp")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="all score files with labels, not dev and dev-llr alone")
    ] = False,
    bootstrap: Annotated[
        int, typer.Option(min=0, help="resamples for 95 % intervals, of two experiments; 0: none")
    ] = 1000,
    utt2spk: Speakers = None,
    as_json: AsJson = False,
) -> None:
    """List the experiments below folders, best EER first, with the settings that differ.

    Two folders that are experiments themselves are compared: settings, what they ran with, results,
    and where they scored the same trials the differences with their intervals.

    Example: tidyvoice runs exp/mini/pretrain exp/mini/finetune
    """
    from tidyvoice.evaluation.bootstrap import enough
    from tidyvoice.runs import find_experiments

    enough(bootstrap)
    folders = folders or [Path("exp")]
    found = find_experiments(folders)
    if len(folders) == 2 and [Path(one.name) for one in found] == folders:
        from tidyvoice.runs import comparison

        compared = comparison.compare_experiments(*found, every, bootstrap, utt2spk or ())
        text, content = comparison.format_comparison, comparison.to_json
    else:
        from tidyvoice.runs import listing

        compared = listing.list_experiments(found, every)
        width = shutil.get_terminal_size(fallback=(WIDTH, 0)).columns
        text, content = partial(listing.format_listing, width=width), listing.to_json
    typer.echo(json.dumps(content(compared), default=str) if as_json else text(compared))
