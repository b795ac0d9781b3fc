"""An exported ONNX file in place of a ``SpeakerEncoder``, so that extraction accepts it too."""

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ValidationError

from tidyvoice.encoder.embedder import demand_finite
from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import sha256
from tidyvoice.frontends import FrontendSettings
from tidyvoice.headers import INT16_SCALE
from tidyvoice.packages import install_command

ENDING = ".onnx"
METADATA = "tidyvoice"


class Description(BaseModel):
    """Description of an exported file: JSON in its metadata under the key ``tidyvoice``."""

    input: Literal["waveform", "features"]  # [B x S] in -1..1, or [B x T x F]
    precision: Literal["float32", "int8"]
    frame_bytes: int  # bytes of a frame of the widest feature map in float32
    sample_rate: int
    frontend: FrontendSettings
    weights: str | None  # SHA-256, see ``modelhub.folder.fingerprint``
    trained_on: list[str] | None  # speakers of the model and of the int8 ranges


class OnnxEncoder:
    """Speaker embeddings of waveforms from an ONNX file, run by onnxruntime on the CPU.

    It has the attributes of a ``SpeakerEncoder`` that extraction needs. ``weights`` of an int8 file
    is the SHA-256 of the file, because its embeddings differ from those of the original model.
    ``threads`` compute one batch, by default as many as torch uses.
    """

    device = torch.device("cpu")
    fewest_frames = 1

    def __init__(self, path: str | Path, threads: int | None = None):
        runtime = need("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads or torch.get_num_threads()
        self.path = Path(path)
        try:
            self.session = runtime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
            metadata = self.session.get_modelmeta().custom_metadata_map
            described = Description.model_validate_json(metadata.get(METADATA, ""))
        except ValidationError:
            raise TidyVoiceError(f"{path}: give a file that `tidyvoice export` wrote") from None
        except Exception as error:  # onnxruntime has no common class
            reason = str(error).strip().splitlines()[0]
            raise TidyVoiceError(
                f"onnxruntime cannot read {path} ({reason}): export it again"
            ) from None
        self.input = described.input
        self.settings = described.frontend
        self.trained_on = described.trained_on
        self.precision = described.precision
        self.frame_bytes = described.frame_bytes
        original = described.weights if described.precision == "float32" else None
        self.weights = original or sha256(path)
        self.frontend = self.settings.build().eval()

    @torch.inference_mode()
    def inputs(self, samples: np.ndarray) -> np.ndarray:
        """Convert samples int16 [B x S] to the float32 input of the file."""
        waveforms = samples.astype(np.float32) / np.float32(INT16_SCALE)
        if self.input == "waveform":
            return waveforms
        return self.frontend(torch.from_numpy(waveforms)).numpy()

    def embed_samples(self, samples: np.ndarray) -> np.ndarray:
        """Return raw embeddings float32 [B x D] of samples int16 [B x S], at least one frame."""
        embeddings = self.session.run(None, {self.input: self.inputs(samples)})[0]
        demand_finite(embeddings, self.frontend.num_frames(samples.shape[1]), self.precision)
        return embeddings


def need(*names: str) -> ModuleType:
    """Import modules of the extra ``export``, or raise a TidyVoiceError; return the last one."""
    try:
        return [import_module(name) for name in names][-1]
    except ModuleNotFoundError as error:
        raise TidyVoiceError(
            f"ONNX needs {error.name}, which is not installed. In the repository, run: "
            f"{install_command('export')}"
        ) from None
