"""Static 8-bit quantisation of the convolutions of an ONNX model.

Weights are int8 with one scale per output channel, activations are uint8 with one scale per tensor.
The scales come from the ranges of activations on utterances of a data folder (Jacob et al.,
"Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", CVPR
2018). The filterbank, the first convolution, SimAM, the pooling and the last layer stay in float32,
because they take little time and their statistics need the precision.

Weights use 7 of the 8 bits. Processors without VNNI add two products in 16 bits, which would
overflow with 8, and the file would give other embeddings on those machines.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tidyvoice.export.graph import quiet
from tidyvoice.export.onnx_encoder import OnnxEncoder

if TYPE_CHECKING:
    import onnx


def quantise(source: OnnxEncoder, batches: list[np.ndarray], out: Path) -> "onnx.ModelProto":
    """Quantise a float32 model.

    Args:
        batches: samples int16 [B x S] from which the ranges are measured.
        out: path of a temporary file, which is overwritten.
    """
    import onnx
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):
        inputs = map(source.inputs, batches)

        def get_next(self) -> dict[str, np.ndarray] | None:
            inputs = next(self.inputs, None)
            return None if inputs is None else {source.description.input: inputs}

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


def _nodes_to_quantise(model: "onnx.ModelProto") -> list[str]:
    """Return the two-dimensional convolutions of more than one channel, and their ReLUs.

    Together with its ReLU, a convolution uses all 256 steps for the values that the ReLU passes.
    """
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
