"""The command that fetches released models."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from tidyvoice.cli.app import AsJson, app
from tidyvoice.errors import one_line_errors


@app.command()
@one_line_errors()
def fetch_model(
    source: Annotated[
        str,
        typer.Argument(
            help="Hugging Face repository OWNER/NAME, YAML file that names one, .zip or .tar.gz "
            "archive, or folder"
        ),
    ],
    out: Annotated[Path, typer.Option(help="model folder to write")],
    revision: Annotated[
        str | None,
        typer.Option(
            help="commit, tag or branch of the repository",
            show_default="that of the YAML file, or main",
        ),
    ] = None,
    pin: Annotated[
        bool, typer.Option("--pin", help="write commit and checksum to the YAML file")
    ] = False,
    trained_on: Annotated[
        list[Path] | None,
        typer.Option(help="utt2spk of its training data, for the leak guard (repeatable)"),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="training to compare its training with, a YAML file")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fetch a released model, try it, and write a model folder with its origin.

    The weights are the first of avg_model.pt, model.safetensors and models/avg_model.pt that
    exists, beside config.yaml. The command prints what config.yaml says about the training.

    Environment variables of huggingface_hub: HF_HOME is the cache, HF_TOKEN gives access to
    private repositories, HF_HUB_OFFLINE=1 reads the cache only.

    Example: tidyvoice fetch-model conf/tidyvoice/released.yaml --out exp/released
    """
    from tidyvoice.config import load_experiment
    from tidyvoice.model_files import CONFIG_FILE, OTHERS
    from tidyvoice.modelhub.wespeaker import read_config
    from tidyvoice.published_training import compare_training, training_table
    from tidyvoice.released import fetch_model as fetch
    from tidyvoice.scoring.groups import read_maps

    experiment = load_experiment(config) if config else None
    speakers = set((read_maps(trained_on or (), "speaker") or {}).values())
    fetched = fetch(source, out, revision, speakers, pin)
    folder, origin = fetched.folder, fetched.source
    training = compare_training(read_config(folder / CONFIG_FILE), experiment)
    named = len(set(fetched.speakers) - {OTHERS})
    if as_json:
        row = {"model": str(folder), "parameters": fetched.parameters}
        row |= {"existing": fetched.existing, **asdict(origin)}
        row |= {"speakers": named, "others": OTHERS in fetched.speakers}
        row["training"] = [
            {**setting._asdict(), "differs": setting.differs} for setting in training
        ]
        typer.echo(json.dumps(row))
        return
    version = f" at commit {origin.commit}" if origin.commit else ""
    state = "exists with the same files" if fetched.existing else "written"
    typer.echo(f"{folder} {state}: {fetched.parameters:,} parameters, {origin.source}{version}")
    for name, checksum in origin.files.items():
        typer.echo(f"  {name} sha256 {checksum}")
    others = " and on others that are unknown" if OTHERS in fetched.speakers else ""
    typer.echo(f"  trained on {named:,} speakers whose names are known{others}")
    if training:
        typer.echo(training_table(training, str(config or "ours")).to_text())
    else:
        typer.echo(f"  {CONFIG_FILE} says nothing about the training")
    if not fetched.pinned and not pin:
        typer.echo(
            f"{origin.revision} may change: to fetch this version again give --revision "
            f"{origin.commit}, or a YAML file with --pin"
        )
