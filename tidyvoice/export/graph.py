"""Conversion of a model to an ONNX graph."""

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import nn

from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.errors import TidyVoiceError

if TYPE_CHECKING:
    import onnx

OPSET = 20
TRACED_FRAMES = 203
# With fewer frames a feature map has one column, which torch.export treats as a constant. The ONNX
# file accepts fewer frames all the same.
FEWEST_TRACED_FRAMES = 9


def onnx_model(encoder: SpeakerEncoder, input: str) -> "onnx.ModelProto":
    """Convert an encoder to an ONNX model for any number of utterances of any equal length.

    Args:
        input: "waveform" or "features".

    Raises:
        TidyVoiceError: the input is features, but the front end was trained with the model.
    """
    frontend = encoder.frontend
    # A copy, because the encoder may be on a GPU and its weights may be trained further.
    module: nn.Module = copy.deepcopy(encoder.model).cpu().eval().requires_grad_(False)
    if frontend.trainable:
        if input == "features":
            raise TidyVoiceError(
                f"--input features leaves out the front end {encoder.settings.name}, which was "
                "trained with the model: use --input waveform"
            )
        del module.frontend
    if input == "waveform":
        module = nn.Sequential(copy.deepcopy(frontend).cpu().for_export(), module).eval()
        example = torch.zeros(2, frontend.num_samples(TRACED_FRAMES))
        time = torch.export.Dim("samples", min=frontend.num_samples(FEWEST_TRACED_FRAMES))
    else:
        example = torch.zeros(2, TRACED_FRAMES, frontend.feature_dim)
        time = torch.export.Dim("frames", min=FEWEST_TRACED_FRAMES)
    shapes = ({0: torch.export.Dim("batch", min=1), 1: time},)
    with torch.no_grad(), quiet():
        program = torch.export.export(module, (example,), dynamic_shapes=shapes)
        for graph in program.graph_module.modules():
            for node in graph.graph.nodes if isinstance(graph, torch.fx.GraphModule) else ():
                node.meta.pop("stack_trace", None)  # paths of this machine
        model = torch.onnx.export(
            program,
            dynamo=True,
            verbose=False,
            input_names=[input],
            output_names=["embeddings"],
            dynamic_shapes=({0: "batch", 1: time.__name__},),
            opset_version=OPSET,
        ).model_proto
    graph = model.graph
    for entry in (*graph.node, *graph.input, *graph.output, *graph.initializer, *graph.value_info):
        del entry.metadata_props[:]  # notes of the exporter, a third of a small file
    return model


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress the exporters' warnings about their internals, which users cannot act on."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
