"""The command that fetches released models."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from tidyvoice.cli.app import AsJson, app
from tidyvoice.errors import one_line_errors

FINE_TUNING = Path("conf/tidyvoice/finetune.yaml")


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
        str | None, typer.Option(help="commit, tag or branch of the repository; main")
    ] = None,
    pin: Annotated[
        bool, typer.Option("--pin", help="write commit and checksum to the YAML file")
    ] = False,
    trained_on: Annotated[
        list[Path] | None,
        typer.Option(help="utt2spk of what it was trained on, for the leak guard (repeatable)"),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="training whose settings stand beside the published ones; "
            f"{FINE_TUNING} if it is there"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fetch a released model, try it, and write a model folder that says where it is from.

    The weights are avg_model.pt, model.safetensors or models/avg_model.pt, the first of these that
    is there, beside config.yaml. What config.yaml tells of the training is printed.

    huggingface_hub does the download: HF_HOME is its cache, HF_TOKEN a token for what is not
    public, HF_HUB_OFFLINE=1 takes what is in the cache.

    Example: tidyvoice fetch-model conf/tidyvoice/released.yaml --out exp/released
    """
    from tidyvoice.config import load_experiment
    from tidyvoice.model_files import CONFIG_FILE, OTHERS
    from tidyvoice.modelhub.published_training import compare_training, format_training
    from tidyvoice.modelhub.wespeaker import read_config
    from tidyvoice.released import fetch_model as fetch
    from tidyvoice.scoring.groups import read_maps

    if config is None and FINE_TUNING.is_file():
        config = FINE_TUNING
    ours = load_experiment(config) if config else None
    speakers = set((read_maps(trained_on or (), "speaker") or {}).values())
    made = fetch(source, out, revision, speakers, pin)
    training = compare_training(read_config(made.folder / CONFIG_FILE), ours)
    named = len(set(made.speakers) - {OTHERS})
    if as_json:
        row = {"model": str(made.folder), "parameters": made.parameters, "found": made.found}
        row |= {**asdict(made.source), "speakers": named, "others": OTHERS in made.speakers}
        row["training"] = [{**one._asdict(), "differs": one.differs} for one in training]
        typer.echo(json.dumps(row))
        return
    version = f" at commit {made.source.commit}" if made.source.commit else ""
    state = "is there already" if made.found else "written"
    typer.echo(
        f"{made.folder} {state}: {made.parameters:,} parameters, from {made.source.source}{version}"
    )
    for name, checksum in made.source.files.items():
        typer.echo(f"  {name} sha256 {checksum}")
    unknown = ", and others that are not known" if OTHERS in made.speakers else ""
    typer.echo(f"  trained on {named:,} speakers known by name{unknown}")
    if training:
        typer.echo(format_training(training, str(config or "no settings of ours")))
    else:
        typer.echo(f"  {CONFIG_FILE} does not tell how it was trained")
    if made.moves and not pin:
        typer.echo(
            f"{made.source.revision} may move: to fetch this very model again give --revision "
            f"{made.source.commit}, or a YAML file with --pin"
        )
