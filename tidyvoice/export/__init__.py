"""Models as files that run without this package: ONNX, and torch.export.

``waveform`` is the filterbank in operations that both formats know, ``programs`` writes the files,
``int8`` quantises, ``encoders`` runs exported files in the place of a ``SpeakerEncoder``, and
``command`` puts them together and checks what it has written against the model.
"""
