"""Conversion of a model to an ONNX graph, and its static 8-bit quantisation."""

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.errors import TidyVoiceError
from tidyvoice.export.onnx_encoder import OnnxEncoder

OPSET = 20
TRACED_FRAMES = 203
# With fewer frames a feature map has one column, which torch.export treats as a constant. The ONNX
# file accepts fewer frames all the same.
FEWEST_TRACED_FRAMES = 9


def onnx_model(encoder: SpeakerEncoder, input: str) -> Any:
    """Convert an encoder to an ONNX model for any number of utterances of any equal length."""
    frontend = encoder.frontend
    # A copy, because the encoder may be on a GPU and its weights may be trained further.
    module: nn.Module = copy.deepcopy(encoder.model).cpu().eval().requires_grad_(False)
    if frontend.trainable:
        if input == "features":
            problem = f"leaves out {encoder.settings.name}, which was trained with the model"
            raise TidyVoiceError(f"--input features {problem}: use --input waveform")
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
        del entry.metadata_props[:]  # notes of the exporter, among them paths of this machine
    return model


def quantise(source: OnnxEncoder, batches: list[np.ndarray], out: Path) -> Any:
    """Quantise the convolutions of a float32 model to 8 bits (Jacob et al., CVPR 2018).

    Weights are int8 with one scale per output channel, activations are uint8 with one scale per
    tensor, from their ranges on ``batches`` of samples int16 [B x S]. The filterbank, the first
    convolution, SimAM, the pooling and the last layer stay in float32. Weights use 7 of the 8 bits:
    with 8, processors without VNNI, which add two products in 16 bits, would give other embeddings.
    ``out`` is a temporary file, which is overwritten.
    """
    import onnx
    from onnxruntime import quantization

    inputs = ({source.input: source.inputs(samples)} for samples in batches)

    class Reader(quantization.CalibrationDataReader):
        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(inputs, None)

    with quiet():
        quantization.quantize_static(
            source.path,
            out,
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            nodes_to_quantize=_nodes_to_quantise(onnx.load(source.path)),
            per_channel=True,
            reduce_range=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            calibrate_method=quantization.CalibrationMethod.MinMax,
        )
    return onnx.load(out)


def _nodes_to_quantise(model: Any) -> list[str]:
    """Return the two-dimensional convolutions of more than one channel, and their ReLUs."""
    shapes = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    names, outputs = [], set()
    for node in model.graph.node:
        wide = node.op_type == "Conv" and tuple(shapes[node.input[1]][1:2]) != (1,)
        if (wide and len(shapes[node.input[1]]) == 4) or (
            node.op_type == "Relu" and node.input[0] in outputs
        ):
            names.append(node.name)
            outputs.update(node.output)
    return names


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
