"""Models as files that run without this package: ONNX, and torch.export.

``waveform`` is the filterbank in operations that both formats know, ``programs`` traces a model,
``graphs`` makes the ONNX file of it, ``int8`` quantises that, ``encoders`` runs exported files in
the place of a ``SpeakerEncoder``, and ``command`` checks what is written against the model.
"""
