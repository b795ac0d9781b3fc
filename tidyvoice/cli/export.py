"""The command that exports a model."""

import json
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from tidyvoice.cli.app import AsJson, app
from tidyvoice.errors import TidyVoiceError, one_line_errors


class Input(str, Enum):
    waveform = "waveform"
    features = "features"


@app.command()
@one_line_errors()
def export(
    model: Annotated[
        Path,
        typer.Option(envvar="TIDYVOICE_MODEL", help="model folder, or OWNER/NAME of Hugging Face"),
    ],
    out: Annotated[Path, typer.Option(help="ONNX file to write")],
    input: Annotated[Input, typer.Option(help="input of the file")] = Input.waveform,
    int8: Annotated[bool, typer.Option("--int8", help="use 8-bit convolutions")] = False,
    calibrate: Annotated[
        Path | None, typer.Option(help="data folder from which --int8 measures its ranges")
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, help="maximal number of utterances of --calibrate")
    ] = 200,
    as_json: AsJson = False,
) -> None:
    """Export a model to ONNX, and compare the file with the model.

    The file accepts any number of utterances of any equal length. It is not written if an embedding
    differs from the model's by more than 1e-4 of its length (with --int8: 0.5; compare the error
    rates). The speakers of --calibrate count as training speakers of the file.

    Example: tidyvoice export --model exp/mini/finetune/models --out model.onnx
    """
    if int8 and calibrate is None:
        raise TidyVoiceError("--int8 needs --calibrate, a data folder to measure ranges from")
    if calibrate and not int8:
        raise TidyVoiceError("--calibrate is for --int8: add --int8 or leave it out")
    from tidyvoice.encoder import SpeakerEncoder
    from tidyvoice.export.command import export as run
    from tidyvoice.export.command import export_int8

    encoder = SpeakerEncoder.from_pretrained(model, "cpu")
    if int8:
        exported = export_int8(encoder, out, calibrate, input.value, limit)
    else:
        exported = run(encoder, out, input.value)
    if as_json:
        typer.echo(json.dumps({**asdict(exported), "path": str(exported.path)}))
        return
    typer.echo(
        f"{out}: {exported.bytes / 2**20:.1f} MiB; {exported.compared} embeddings differ from the "
        f"model's by at most {exported.difference:.1e} of their length"
    )
