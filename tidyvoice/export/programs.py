"""A model as a program of torch.export, from which both formats are made."""

import copy
import io
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.errors import TidyVoiceError
from tidyvoice.export.description import Description, Input

TRACED_FRAMES = 203
# Below this a convolution's output has one column, which torch.export would take for a constant.
FEWEST_FRAMES = 9
PROGRAM_NOTE = "tidyvoice.json"


def trace(encoder: SpeakerEncoder, input: Input) -> torch.export.ExportedProgram:
    """An encoder's computation, on the CPU, for any number of utterances and frames.

    Args:
        input: whether it begins with the front end.

    Raises:
        TidyVoiceError: it begins with the features of a front end that was trained with the model.
    """
    frontend = encoder.frontend
    # A copy: an encoder on a GPU stays there, and keeps what may be trained.
    module: nn.Module = copy.deepcopy(encoder.model).cpu().eval().requires_grad_(False)
    if frontend.trainable:
        if input == "features":
            raise TidyVoiceError(
                f"--input features leaves out the front end {encoder.settings.name}, which was "
                "trained with the model: use --input waveform"
            )
        del module.frontend
    batch = torch.export.Dim("batch", min=1)
    if input == "waveform":
        module = nn.Sequential(copy.deepcopy(frontend).cpu().for_export(), module).eval()
        example = torch.zeros(2, frontend.num_samples(TRACED_FRAMES))
        time = torch.export.Dim("samples", min=frontend.num_samples(FEWEST_FRAMES))
    else:
        example = torch.zeros(2, TRACED_FRAMES, frontend.feature_dim)
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
