"""The command that exports a model."""

from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from tidyvoice.cli.common import AsJson, Model, command, emit
from tidyvoice.files import refuse_inputs


class Input(str, Enum):
    waveform = "waveform"
    features = "features"


@command()
def export(
    model: Model,
    out: Annotated[Path, typer.Option(help="ONNX file to write")],
    input: Annotated[Input, typer.Option(help="input of the file")] = Input.waveform,
    int8: Annotated[
        Path | None,
        typer.Option(help="use 8-bit convolutions; data folder to measure their ranges from"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Export a model to ONNX, and compare the file with the model.

    The file accepts any number of utterances of any equal length. It is not written if an embedding
    differs from the model's by more than 1e-4 of its length (with --int8: 0.5; compare the error
    rates). The speakers of the data folder of --int8 count as training speakers of the file.

    Example: tidyvoice export --model exp/mini/finetune/models --out model.onnx
    """
    from tidyvoice.data.manifest import own_files
    from tidyvoice.encoder import SpeakerEncoder
    from tidyvoice.export.command import export as run
    from tidyvoice.export.onnx_encoder import ENDING
    from tidyvoice.modelhub.folder import local_files

    inputs = [path for path in local_files(model) if path.suffix != ENDING]
    refuse_inputs([out], [*inputs, *(own_files(int8) if int8 else ())])
    encoder = SpeakerEncoder.from_pretrained(model, "cpu")
    exported = run(encoder, out, input.value, int8)
    size, most = f"{exported.bytes / 2**20:.1f} MiB", f"{exported.difference:.1e} of their length"
    line = (
        f"{out}: {size}; {exported.compared} embeddings differ from the model's by at most {most}"
    )
    emit(as_json, asdict(exported), [line])
