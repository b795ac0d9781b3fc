"""The command that lists and compares experiments."""

import json
from pathlib import Path
from typing import Annotated

import typer

from tidyvoice.cli.app import AsJson, Speakers, app
from tidyvoice.errors import one_line_errors


@app.command()
@one_line_errors()
def runs(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(show_default="exp", help="folders with experiments"),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="all score files with labels, not only dev and dev-llr")
    ] = False,
    bootstrap: Annotated[
        int,
        typer.Option(min=0, help="resamples for the 95 % intervals of two experiments; 0 for none"),
    ] = 1000,
    utt2spk: Speakers = None,
    as_json: AsJson = False,
) -> None:
    """List the experiments below folders, best EER first, with the settings that differ.

    Two folders that are experiments themselves are compared: settings, training records, results,
    and the differences of the results with their intervals where both scored the same trials.

    Example: tidyvoice runs exp/mini/pretrain exp/mini/finetune
    """
    from tidyvoice.evaluation.bootstrap import enough
    from tidyvoice.runs import compare_experiments, find_experiments, list_experiments

    enough(bootstrap)
    folders = folders or [Path("exp")]
    experiments = find_experiments(folders)
    if len(folders) == 2 and [Path(experiment.name) for experiment in experiments] == folders:
        compared = compare_experiments(*experiments, every, bootstrap, utt2spk or ())
    else:
        compared = list_experiments(experiments, every, utt2spk=utt2spk or ())
    typer.echo(json.dumps(compared.to_json(), default=str) if as_json else compared.to_text())
