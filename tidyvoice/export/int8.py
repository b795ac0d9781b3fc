"""Static quantisation of the convolutions of an ONNX model to 8 bits.

Weights are int8 with a scale for each output channel, activations uint8 with a scale for each
tensor, from the ranges that they take on utterances of a data folder (Jacob et al.: Quantization
and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, CVPR 2018). The
filterbank, the first convolution, SimAM, pooling and the last layer stay in float32: they take
little time, and the statistics need the precision.
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
            nodes_to_quantize=_wide_convolutions(onnx.load(source.path)),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
    return onnx.load(out)


def _wide_convolutions(model: "onnx.ModelProto") -> list[str]:
    """Names of the two-dimensional convolutions of more than one channel."""
    shapes = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    return [
        node.name
        for node in convolutions
        if len(shapes[node.input[1]]) == 4 and shapes[node.input[1]][1] > 1
    ]
