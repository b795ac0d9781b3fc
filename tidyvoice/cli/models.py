"""The command that fetches released models."""

from pathlib import Path
from typing import Annotated

import typer

from tidyvoice.cli.common import AsJson, command, emit


@command()
def fetch_model(
    source: Annotated[
        str,
        typer.Argument(
            help="Hugging Face repository OWNER/NAME, YAML file that names one, archive, or folder"
        ),
    ],
    out: Annotated[Path, typer.Option(help="model folder to write")],
    revision: Annotated[
        str | None, typer.Option(help="commit, tag or branch instead of the YAML file's or main")
    ] = None,
    pin: Annotated[
        bool, typer.Option("--pin", help="write commit and checksum to the YAML file")
    ] = False,
    trained_on: Annotated[
        list[Path] | None,
        typer.Option(help="utt2spk of its training data, for the leak guard (repeatable)"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fetch a released model, try it, and write a model folder with its origin.

    A folder that exists must hold the same files.

    Environment variables of huggingface_hub: HF_HOME is the cache, HF_TOKEN gives access to
    private repositories, HF_HUB_OFFLINE=1 reads the cache only.

    Example: tidyvoice fetch-model conf/tidyvoice/released.yaml --out exp/released
    """
    from tidyvoice.model_files import OTHERS
    from tidyvoice.modelhub.folder import training_speakers
    from tidyvoice.released import fetch_model as fetch
    from tidyvoice.scoring.groups import read_maps

    speakers = set((read_maps(trained_on or (), "speaker") or {}).values())
    origin = fetch(source, out, revision, speakers, pin)
    names = set(training_speakers(out) or ())
    named, others = len(names - {OTHERS}), OTHERS in names
    version = f" at commit {origin.commit}" if origin.commit else ""
    lines = [f"{out}: {origin.source}{version}"]
    lines += [f"  {name} sha256 {checksum}" for name, checksum in origin.files.items()]
    unknown = " and on others that are unknown" if others else ""
    lines.append(f"  trained on {named:,} speakers whose names are known{unknown}")
    if origin.revision != origin.commit and not pin:
        fix = f"give --revision {origin.commit}, or a YAML file with --pin"
        lines.append(f"{origin.revision} may change: to fetch this version again {fix}")
    row = {"model": str(out), **origin.model_dump(), "speakers": named, "others": others}
    emit(as_json, row, lines)
