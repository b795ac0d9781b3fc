"""Export of a model to ONNX, from the waveform to the embedding."""
