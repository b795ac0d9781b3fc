"""Writing a model as an ONNX file or as a program of torch.export."""

import copy
import io
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.errors import TidyVoiceError
from tidyvoice.export.waveform import WaveformModel
from tidyvoice.frontend import FrontendSettings

if TYPE_CHECKING:
    import onnx

Input = Literal["waveform", "features"]
OPSET = 20
TRACED_FRAMES = 203
# Below this a convolution's output has one column, which torch.export would take for a constant.
FEWEST_FRAMES = 9
PROGRAM_NOTE = "tidyvoice.json"
PREFIX = "tidyvoice."


@dataclass(frozen=True)
class Description:
    """What an exported file says of itself.

    Attributes:
        input: "waveform" [B x S] in -1..1 or "features" [B x T x F].
        precision: "float32" or "int8".
        embedding_dim: D.
        frontend: the settings of the filterbank.
        weights: SHA-256 of the model's file of weights, where known.
        trained_on: the speakers that the model, and its int8 ranges, were fitted to, where known.
        fewest_frames: of an utterance that the file takes.
    """

    input: Input
    precision: Literal["float32", "int8"]
    embedding_dim: int
    frontend: dict[str, Any]
    weights: str | None
    trained_on: list[str] | None
    fewest_frames: int

    def to_strings(self) -> dict[str, str]:
        """Keys and JSON values, as the metadata of an ONNX file are text."""
        return {f"{PREFIX}{name}": json.dumps(value) for name, value in asdict(self).items()}

    @classmethod
    def from_strings(cls, found: dict[str, str], path: Path) -> "Description":
        """What ``to_strings`` wrote.

        Raises:
            TidyVoiceError: the file ``path`` was not written by ``tidyvoice export``.
        """
        names = cls.__dataclass_fields__
        missing = [name for name in names if PREFIX + name not in found]
        if missing:
            raise TidyVoiceError(
                f"{path} does not say its {PREFIX}{missing[0]}: give a file that "
                "`tidyvoice export` wrote"
            )
        return cls(**{name: json.loads(found[PREFIX + name]) for name in names})

    def settings(self) -> FrontendSettings:
        return FrontendSettings(**self.frontend)


def describe(encoder: SpeakerEncoder, input: Input, fewest_frames: int = 1) -> Description:
    """The description of an encoder's float32 export."""
    speakers = encoder.trained_on
    return Description(
        input,
        "float32",
        encoder.model.embed_dim,
        encoder.settings.model_dump(),
        encoder.weights,
        None if speakers is None else list(speakers),
        fewest_frames,
    )


def trace(encoder: SpeakerEncoder, input: Input) -> torch.export.ExportedProgram:
    """An encoder's computation, on the CPU, for any number of utterances and frames.

    Args:
        input: whether it begins with the filterbank.
    """
    settings = encoder.settings
    # A copy: an encoder on a GPU stays there, and keeps what may be trained.
    module: nn.Module = copy.deepcopy(encoder.model).cpu().eval().requires_grad_(False)
    batch = torch.export.Dim("batch", min=1)
    if input == "waveform":
        module = WaveformModel(module, settings).eval()
        example = torch.zeros(2, settings.num_samples(TRACED_FRAMES))
        time = torch.export.Dim("samples", min=settings.num_samples(FEWEST_FRAMES))
    else:
        example = torch.zeros(2, TRACED_FRAMES, settings.num_mel_bins)
        time = torch.export.Dim("frames", min=FEWEST_FRAMES)
    with torch.no_grad(), quiet():
        program = torch.export.export(module, (example,), dynamic_shapes=({0: batch, 1: time},))
    for graph in program.graph_module.modules():
        for node in graph.graph.nodes if isinstance(graph, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)  # paths of this machine
    return program


def program_bytes(program: torch.export.ExportedProgram, description: Description) -> bytes:
    """The ``.pt2`` file of a program."""
    note = {PROGRAM_NOTE: json.dumps(description.to_strings())}
    # In memory, because torch wants a file name that ends in .pt2.
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files=note)
    return buffer.getvalue()


def onnx_model(
    program: torch.export.ExportedProgram, description: Description
) -> "onnx.ModelProto":
    """The ONNX model of a program; needs the extra ``export``."""
    time = "samples" if description.input == "waveform" else "frames"
    with quiet():
        model = torch.onnx.export(
            program,
            dynamo=True,
            verbose=False,
            input_names=[description.input],
            output_names=["embeddings"],
            dynamic_shapes=({0: "batch", 1: time},),
            opset_version=OPSET,
        ).model_proto
    graph = model.graph
    for noted in (*graph.node, *graph.input, *graph.output, *graph.initializer, *graph.value_info):
        del noted.metadata_props[:]  # of the exporter's own: a third of a small model's file
    annotate(model, description)
    return model


def annotate(model: "onnx.ModelProto", description: Description) -> None:
    """Write a description into the metadata of an ONNX model, in the place of what is there."""
    kept = [entry for entry in model.metadata_props if not entry.key.startswith(PREFIX)]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    for key, value in description.to_strings().items():
        model.metadata_props.add(key=key, value=value)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep back what the exporters say of their own insides: it asks nothing of the user."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", None)]
    before = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, before, strict=True):
                logger.setLevel(level)
