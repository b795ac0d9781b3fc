"""An exported ONNX file in place of a ``SpeakerEncoder``, so that extraction accepts it too."""

from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

from tidyvoice.encoder.embedder import demand_finite
from tidyvoice.errors import TidyVoiceError
from tidyvoice.export.description import Description
from tidyvoice.files import sha256
from tidyvoice.headers import INT16_SCALE
from tidyvoice.packages import install_command

ENDING = ".onnx"


class OnnxEncoder:
    """Speaker embeddings of waveforms from an ONNX file, run by onnxruntime on the CPU.

    It has the attributes of a ``SpeakerEncoder`` that extraction needs. ``weights`` of an int8 file
    is the SHA-256 of the file, because its embeddings differ from those of the original model.

    Args:
        path: a file that `tidyvoice export` wrote.
        threads: threads for one batch; torch's number of threads by default. Extraction computes
            several batches at once and uses one thread for each.

    Raises:
        TidyVoiceError: the file is missing, unreadable or not from `tidyvoice export`, or
            onnxruntime is not installed.

    Example:
        >>> encoder = OnnxEncoder("model.onnx")  # doctest: +SKIP
        >>> encoder.embed_samples(samples[None]).shape  # doctest: +SKIP
        (1, 256)
    """

    device = torch.device("cpu")
    fewest_frames = 1

    def __init__(self, path: str | Path, threads: int | None = None):
        runtime = need("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads or torch.get_num_threads()
        path = Path(path)
        if not path.is_file():
            raise TidyVoiceError(f"{path}: no such file; `tidyvoice export` writes one")
        try:
            self.session = runtime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            reason = str(error).strip().splitlines()[0]
            raise TidyVoiceError(
                f"onnxruntime cannot read {path} ({reason}): export it again"
            ) from None
        metadata = self.session.get_modelmeta().custom_metadata_map
        self.path = path
        self.description = Description.from_strings(metadata, path)
        self.settings = self.description.settings(path)
        self.trained_on = self.description.trained_on
        self.precision = self.description.precision
        self.frame_bytes = self.description.frame_bytes
        original = self.description.weights if self.precision == "float32" else None
        self.weights = original or sha256(path)
        self.frontend = self.settings.build().eval()

    @torch.inference_mode()
    def inputs(self, samples: np.ndarray) -> np.ndarray:
        """Convert samples int16 [B x S] to the float32 input of the file."""
        waveforms = samples.astype(np.float32) / np.float32(INT16_SCALE)
        if self.description.input == "waveform":
            return waveforms
        return self.frontend(torch.from_numpy(waveforms)).numpy()

    def embed_samples(self, samples: np.ndarray) -> np.ndarray:
        """Return raw embeddings float32 [B x D] of samples int16 [B x S].

        Raises:
            TidyVoiceError: the utterances are too short for one frame, or an embedding is not
                finite.
        """
        frames = self.frontend.num_frames(samples.shape[1])
        if frames < 1:
            raise TidyVoiceError(
                f"an utterance has {samples.shape[1]} samples, fewer than the "
                f"{self.frontend.num_samples(1)} of one frame: leave it out"
            )
        embeddings = self.session.run(None, {self.description.input: self.inputs(samples)})[0]
        demand_finite(embeddings, frames, self.precision)
        return embeddings


def need(*names: str) -> ModuleType:
    """Import modules of the extra ``export`` and return the last one.

    Raises:
        TidyVoiceError: a module is not installed.
    """
    try:
        return [import_module(name) for name in names][-1]
    except ModuleNotFoundError as error:
        raise TidyVoiceError(
            f"ONNX needs {error.name}, which is not installed. In the repository, run: "
            f"{install_command('export')}"
        ) from None
