"""Static quantisation of the convolutions of an ONNX model to 8 bits.

Weights are int8 with a scale for each output channel, activations uint8 with a scale for each
tensor, from the ranges that they take on utterances of a data folder (Jacob et al.: Quantization
and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, CVPR 2018). The
filterbank, the first convolution, SimAM, pooling and the last layer stay in float32: they take
little time, and the statistics need the precision.

Weights use 7 of their 8 bits: processors without VNNI add two products in 16 bits, which would
overflow, so that the same file would give other embeddings on another machine.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tidyvoice.export.encoders import OnnxEncoder
from tidyvoice.export.programs import quiet

if TYPE_CHECKING:
    import onnx


def quantise(source: OnnxEncoder, batches: list[np.ndarray], out: Path) -> "onnx.ModelProto":
    """The int8 model of a float32 one.

    Args:
        source: the float32 model.
        batches: int16 [B x S] each, to take the ranges from.
        out: name for a temporary file, which is overwritten.
    """
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.inputs: Iterator[np.ndarray] = map(source.inputs, batches)

        def get_next(self) -> dict[str, np.ndarray] | None:
            inputs = next(self.inputs, None)
            return None if inputs is None else {source.description.input: inputs}

    with quiet():
        quantize_static(
            source.path,
            out,
            Reader(),
            quant_format=QuantFormat.QDQ,
            nodes_to_quantize=_quantised(onnx.load(source.path)),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
    return onnx.load(out)


def _quantised(model: "onnx.ModelProto") -> list[str]:
    """Names of the two-dimensional convolutions of more than one channel, and of their ReLUs.

    With its ReLU a convolution spends all of the 256 steps on what the ReLU lets through.
    """
    shapes = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    chosen, outputs = [], set()
    for node in model.graph.node:
        wide = node.op_type == "Conv" and tuple(shapes[node.input[1]][1:2]) != (1,)
        if (wide and len(shapes[node.input[1]]) == 4) or (
            node.op_type == "Relu" and node.input[0] in outputs
        ):
            chosen.append(node.name)
            outputs.update(node.output)
    return chosen
