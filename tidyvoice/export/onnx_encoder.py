"""An exported ONNX file in place of a ``SpeakerEncoder``, so that extraction accepts it too."""

import hashlib
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, Field

from tidyvoice.encoder.embedder import demand_finite
from tidyvoice.errors import TidyVoiceError, reading
from tidyvoice.files import sha256
from tidyvoice.frontends import FrontendSettings
from tidyvoice.headers import INT16_SCALE, SAMPLE_RATE
from tidyvoice.packages import install_command

ENDING = ".onnx"
METADATA = "tidyvoice"
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
NO_CHECKSUM = "0" * 64
FLOATS = "tensor(float)"
FIX = "make it again with `tidyvoice export`"


class Description(BaseModel, extra="forbid"):
    """Description of an exported file: JSON in its metadata under the key ``tidyvoice``."""

    input: Literal["waveform", "features"]  # [B x S] in -1..1, or [B x T x F]
    precision: Literal["float32", "int8"]
    # Bytes of a frame of the widest feature map in float32.
    frame_bytes: int = Field(gt=0, lt=2**40)
    sample_rate: Literal[SAMPLE_RATE]
    frontend: FrontendSettings
    weights: Sha256 | None  # see ``modelhub.folder.fingerprint``
    trained_on: list[str] | None  # speakers of the model and of the int8 ranges
    checksum: Sha256 = NO_CHECKSUM  # of the file with ``NO_CHECKSUM`` in its place


class OnnxEncoder:
    """Speaker embeddings of waveforms from an ONNX file, run by onnxruntime on the CPU.

    It has the attributes of a ``SpeakerEncoder`` that extraction needs. ``weights`` of an int8 file
    is the SHA-256 of the file. ``threads`` compute one batch, by default as many as torch uses.
    """

    device = torch.device("cpu")
    fewest_frames = 1

    def __init__(self, path: str | Path, threads: int | None = None):
        onnx, runtime = need("onnx"), need("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads or torch.get_num_threads()
        self.path = Path(path)
        with reading(path, "exported model", FIX):
            content = self.path.read_bytes()
            model = onnx.load_from_string(content)
            metadata = {entry.key: entry.value for entry in model.metadata_props}
            described = Description.model_validate_json(metadata.get(METADATA, ""))
            blank = content.replace(described.checksum.encode(), NO_CHECKSUM.encode())
            if hashlib.sha256(blank).hexdigest() != described.checksum:
                raise ValueError("its checksum differs")
            if _refers_to_files(model):
                raise ValueError("it refers to other files")
            options.log_severity_level = 4  # its errors are reported here, in one line
            providers = ["CPUExecutionProvider"]
            self.session = runtime.InferenceSession(content, options, providers=providers)
            self.frontend = described.frontend.build().eval()
            (source,), (target,) = self.session.get_inputs(), self.session.get_outputs()
            rest = [] if described.input == "waveform" else [self.frontend.feature_dim]
            form = source.name, source.type, target.type, len(target.shape), source.shape[2:]
            if form != (described.input, FLOATS, FLOATS, 2, rest):
                raise ValueError(f"inputs or outputs of another form: {form}")
        self.input = described.input
        self.settings = described.frontend
        self.trained_on = described.trained_on
        self.precision = described.precision
        self.frame_bytes = described.frame_bytes
        original = described.weights if described.precision == "float32" else None
        self.weights = original or sha256(path)
        self.embed_dim = target.shape[1]

    @torch.inference_mode()
    def inputs(self, samples: np.ndarray) -> np.ndarray:
        """Convert samples int16 [B x S] to the float32 input of the file."""
        waveforms = samples.astype(np.float32) / np.float32(INT16_SCALE)
        if self.input == "waveform":
            return waveforms
        return self.frontend(torch.from_numpy(waveforms)).numpy()

    def embed_samples(self, samples: np.ndarray) -> np.ndarray:
        """Return raw embeddings float32 [B x D] of samples int16 [B x S], at least one frame."""
        inputs = self.inputs(samples)
        with reading(self.path, "exported model", FIX):
            (embeddings,) = self.session.run(None, {self.input: inputs})
            if embeddings.shape != (len(samples), self.embed_dim):
                raise ValueError(f"embeddings of the shape {embeddings.shape}")
        demand_finite(embeddings, self.frontend.num_frames(samples.shape[1]), self.precision)
        return embeddings


def _refers_to_files(message: Any) -> bool:
    """Return True if a part of an ONNX model lies in another file, which could be any file."""
    for field, value in message.ListFields():
        parts = [value] if hasattr(value, "ListFields") else value if field.message_type else ()
        if field.name == "external_data" or any(map(_refers_to_files, parts)):
            return True
    return False


def need(*names: str) -> ModuleType:
    """Import modules of the extra ``export``, or raise a TidyVoiceError; return the last one."""
    try:
        return [import_module(name) for name in names][-1]
    except ModuleNotFoundError as error:
        fix = f"in the repository, run: {install_command('export')}"
        raise TidyVoiceError(f"ONNX needs {error.name}, which is not installed: {fix}") from None
