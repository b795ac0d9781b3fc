"""Exported files in the place of a ``SpeakerEncoder``, so that extraction takes them too."""

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

from tidyvoice.embedder import demand_finite
from tidyvoice.errors import TidyVoiceError
from tidyvoice.export.description import Description
from tidyvoice.export.programs import PROGRAM_NOTE, quiet
from tidyvoice.files import sha256
from tidyvoice.frontend import INT16_SCALE, Frontend, FrontendSettings
from tidyvoice.packages import install_command

ONNX, TORCH = ".onnx", ".pt2"


class ExportedEncoder:
    """Waveforms to speaker embeddings by an exported file, on the CPU.

    Has what ``extraction.extract`` needs of a ``SpeakerEncoder``: ``settings``, ``device``,
    ``precision``, ``trained_on``, ``weights``, ``fewest_frames`` and ``embed_samples``. Of an int8
    file ``weights`` is the SHA-256 of the file: its embeddings are not those of the model that it
    was made from.
    """

    def __init__(self, path: Path, description: Description):
        self.path = path
        self.description = description
        self.settings: FrontendSettings = description.settings()
        self.trained_on = description.trained_on
        self.device = torch.device("cpu")
        self.precision = description.precision
        self.fewest_frames = description.fewest_frames
        known = description.weights if self.precision == "float32" else None
        self.weights = known or sha256(path)
        self.frontend = Frontend(self.settings).eval()

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame of the widest map, at most (int8 files hold some maps in float32)."""
        return self.description.frame_bytes

    def run(self, inputs: np.ndarray) -> np.ndarray:
        """Embeddings float32 [B x D] of the file's inputs, float32."""
        raise NotImplementedError

    @torch.inference_mode()
    def inputs(self, samples: np.ndarray) -> np.ndarray:
        """The file's inputs, float32, of samples int16 [B x S]."""
        waveforms = samples.astype(np.float32) / np.float32(INT16_SCALE)
        if self.description.input == "waveform":
            return waveforms
        return self.frontend(torch.from_numpy(waveforms)).numpy()

    @torch.inference_mode()
    def embed_samples(self, samples: np.ndarray) -> np.ndarray:
        """Raw embeddings float32 [B x D] of 16-bit samples int16 [B x S] of equal length.

        Raises:
            TidyVoiceError: shorter than the file takes, or an embedding is not finite.
        """
        frames = self.settings.num_frames(samples.shape[1])
        if frames < self.fewest_frames:
            fewest = self.settings.num_samples(self.fewest_frames)
            raise TidyVoiceError(
                f"an utterance of {samples.shape[1]} samples is shorter than the {fewest} that "
                f"{self.path} takes: leave it out"
            )
        embeddings = self.run(self.inputs(samples))
        demand_finite(embeddings, frames, self.precision)
        return embeddings


class OnnxEncoder(ExportedEncoder):
    """An ``.onnx`` file run by onnxruntime, on ``threads`` threads, or as many as torch takes.

    Example:
        >>> encoder = OnnxEncoder("model.onnx")  # doctest: +SKIP
        >>> encoder.embed_samples(samples[None]).shape  # doctest: +SKIP
        (1, 256)
    """

    def __init__(self, path: str | Path, threads: int | None = None):
        runtime = need("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads or torch.get_num_threads()
        path = _file(path)
        try:
            self.session = runtime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise _unreadable(path, "onnxruntime", error) from None
        found = self.session.get_modelmeta().custom_metadata_map
        super().__init__(path, Description.from_strings(found, path))

    def run(self, inputs: np.ndarray) -> np.ndarray:
        return self.session.run(None, {self.description.input: inputs})[0]


class ProgramEncoder(ExportedEncoder):
    """A ``.pt2`` file run by torch."""

    def __init__(self, path: str | Path):
        path = _file(path)
        note = {PROGRAM_NOTE: "{}"}
        try:
            # An open file: torch complains of a name that does not end in .pt2.
            with quiet(), open(path, "rb") as file:
                self.program = torch.export.load(file, extra_files=note).module()
        except Exception as error:
            raise _unreadable(path, "torch.export", error) from None
        super().__init__(path, Description.from_strings(json.loads(note[PROGRAM_NOTE]), path))

    def run(self, inputs: np.ndarray) -> np.ndarray:
        return self.program(torch.from_numpy(inputs)).numpy()


def is_exported(path: str | Path) -> bool:
    """Whether a path has the name of an exported file."""
    return Path(path).suffix in (ONNX, TORCH)


def load_exported(path: str | Path, threads: int | None = None) -> ExportedEncoder:
    """The encoder of an exported file, by its ending.

    Args:
        threads: of onnxruntime, for a batch; extraction, which computes several batches at once,
            takes one.

    Raises:
        TidyVoiceError: no such file, not readable, not written by ``tidyvoice export``, or
            onnxruntime is not installed.
    """
    return OnnxEncoder(path, threads) if Path(path).suffix == ONNX else ProgramEncoder(path)


def need(*names: str) -> ModuleType:
    """Import the modules named, of the extra ``export``; the last one is returned.

    Raises:
        TidyVoiceError: one is not installed.
    """
    from importlib import import_module

    try:
        return [import_module(name) for name in names][-1]
    except ModuleNotFoundError as error:
        raise TidyVoiceError(
            f"ONNX needs {error.name}, which is not installed. In the repository, run: "
            f"{install_command('export')}"
        ) from None


def _file(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        raise TidyVoiceError(f"{path}: no such file; `tidyvoice export` writes one")
    return path


def _unreadable(path: Path, program: str, error: Exception) -> TidyVoiceError:
    reason = str(error).strip().splitlines()[0]
    return TidyVoiceError(f"{path} cannot be read by {program} ({reason}): export it again")
