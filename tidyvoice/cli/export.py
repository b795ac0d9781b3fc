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


class Format(str, Enum):
    onnx = "onnx"
    torch = "torch"


@app.command()
@one_line_errors()
def export(
    model: Annotated[Path, typer.Option(help="model folder, or OWNER/NAME of Hugging Face")],
    out: Annotated[Path, typer.Option(help="file to write, .onnx or .pt2")],
    input: Annotated[Input, typer.Option(help="what the file takes")] = Input.waveform,
    format: Annotated[Format, typer.Option(help="ONNX, or torch.export")] = Format.onnx,
    int8: Annotated[bool, typer.Option("--int8", help="convolutions in 8 bits")] = False,
    calibrate: Annotated[
        Path | None, typer.Option(help="data folder that --int8 takes its ranges from")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="utterances of --calibrate at most; 200")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Export a model to a file that runs without this package, and compare it with the model.

    The file takes any number of utterances of any equal length. Where its embeddings differ from
    the model's by more than 1e-4 of their length it is not written; with --int8 they may, and what
    that costs is for the error rates to say. The speakers of --calibrate count as trained on.

    Example: tidyvoice export --model exp/mini/finetune/models --out model.onnx
    """
    if int8 and calibrate is None:
        raise TidyVoiceError("--int8 needs --calibrate: a data folder to take the ranges from")
    if int8 and format is Format.torch:
        raise TidyVoiceError("--int8 is of --format onnx: leave out one of them")
    if not int8 and (calibrate or limit):
        given = "--calibrate" if calibrate else "--limit"
        raise TidyVoiceError(f"{given} is of use with --int8 only: leave it out")
    from tidyvoice.encoder import SpeakerEncoder
    from tidyvoice.export.command import export as run
    from tidyvoice.export.command import export_int8

    encoder = SpeakerEncoder.from_pretrained(model, "cpu")
    if int8:
        made = export_int8(encoder, out, calibrate, input.value, limit or 200)
    else:
        made = run(encoder, out, input.value, format.value)
    if as_json:
        typer.echo(json.dumps({**asdict(made), "path": str(made.path)}))
        return
    typer.echo(
        f"{out}: {made.bytes / 2**20:.1f} MiB; {made.compared} embeddings differ from the model's "
        f"by {made.difference:.1e} of their length at most"
    )
