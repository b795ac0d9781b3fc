"""Export with a check: the file is run and compared with the model before it is kept."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.errors import TidyVoiceError
from tidyvoice.export.description import Input, describe
from tidyvoice.export.graph import annotate, onnx_model
from tidyvoice.export.int8 import quantise
from tidyvoice.export.onnx_encoder import ENDING, OnnxEncoder, need
from tidyvoice.extraction.extract import Source
from tidyvoice.files import atomic_path
from tidyvoice.frontends import Frontend
from tidyvoice.kaldi_tables import read_table

# Largest relative L2 difference from the model's embedding.
TOLERANCE = {"float32": 1e-4, "int8": 0.5}
CHECKED_FRAMES = (1, 2, 9, 50, 127, 200, 333, 600)
CHECKED_BATCHES = (1, 3)


@dataclass(frozen=True)
class Exported:
    """An exported file.

    Attributes:
        path: the file.
        bytes: its size.
        difference: largest relative L2 difference of an embedding from the model's.
        compared: number of embeddings compared.
    """

    path: Path
    bytes: int
    difference: float
    compared: int


def export(encoder: SpeakerEncoder, out: str | Path, input: Input = "waveform") -> Exported:
    """Write a model as float32 ONNX, for any number of utterances of any equal length.

    Raises:
        TidyVoiceError: ``out`` does not end in .onnx, the extra ``export`` is not installed, or the
            embeddings of the file differ from the model's. Nothing is written then.
    """
    out = _prepare(out)
    with atomic_path(out) as partial:
        model = onnx_model(encoder, describe(encoder, input))
        partial.write_bytes(model.SerializeToString())
        return _compare(OnnxEncoder(partial), encoder, noises(encoder.frontend), out)


def export_int8(
    encoder: SpeakerEncoder,
    out: str | Path,
    data: str | Path,
    input: Input = "waveform",
    limit: int = 200,
    seed: int = 1,
) -> Exported:
    """Write a model as ONNX with 8-bit convolutions.

    Args:
        data: data folder from which the ranges of activations are measured; use the kind of data
            that the model was trained on. Its speakers count as training speakers of the file.
        limit: maximal number of its utterances, drawn with ``seed``. The file is compared with the
            model on the same utterances.

    Raises:
        TidyVoiceError: as ``export``; or the folder has no usable utterance.
    """
    out = _prepare(out)
    batches, speakers = calibration(data, encoder.frontend, limit, seed)
    description = describe(encoder, input)
    if description.trained_on is not None:
        speakers = sorted({*description.trained_on, *speakers})
    with atomic_path(out) as partial:
        partial.write_bytes(onnx_model(encoder, description).SerializeToString())
        model = quantise(OnnxEncoder(partial), batches, partial)
        if description.trained_on is not None:
            description = replace(description, trained_on=speakers)
        annotate(model, replace(description, precision="int8"))
        partial.write_bytes(model.SerializeToString())
        return _compare(OnnxEncoder(partial), encoder, batches, out)


def calibration(
    data: str | Path, frontend: Frontend, limit: int, seed: int
) -> tuple[list[np.ndarray], list[str]]:
    """Return utterances of a data folder, int16 [1 x S] each, and their speakers."""
    source = Source(data)
    rows = [row for row, size in enumerate(source.samples) if frontend.num_frames(int(size))]
    if not rows:
        raise TidyVoiceError(f"{data} has no utterance of a frame or more: give another folder")
    rows = np.sort(np.random.default_rng(seed).permutation(rows)[:limit]).tolist()
    speakers = dict(read_table(Path(data) / "utt2spk", "speaker").iter_rows())
    return [source.read(row)[None] for row in rows], [speakers[source.ids[row]] for row in rows]


def noises(frontend: Frontend) -> list[np.ndarray]:
    """Return noise int16 [B x S] in batches of several sizes and lengths, from quiet to loud."""
    random = np.random.default_rng(1)
    batches = []
    for frames in CHECKED_FRAMES:
        for size in CHECKED_BATCHES:
            # No whole number of frames: the samples after the last frame must not matter.
            samples = frontend.num_samples(frames) + frontend.frame_shift // 3
            loudness = 10 ** random.uniform(1, 4, (size, 1))
            white = random.standard_normal((size, samples))
            noise = loudness * (white + 0.1 * white.cumsum(axis=1))
            batches.append(noise.clip(-32768, 32767).astype(np.int16))
    return batches


def largest_difference(
    exported: OnnxEncoder, encoder: SpeakerEncoder, batches: Sequence[np.ndarray]
) -> float:
    """Return the largest relative L2 difference of an embedding of samples int16 [B x S]."""
    largest = 0.0
    for samples in batches:
        expected = encoder.embed_samples(samples)
        difference = np.linalg.norm(exported.embed_samples(samples) - expected, axis=1)
        largest = max(largest, float((difference / np.linalg.norm(expected, axis=1)).max()))
    return largest


def _prepare(out: str | Path) -> Path:
    out = Path(out)
    if out.suffix != ENDING:
        raise TidyVoiceError(f"--out {out}: give a name that ends in {ENDING}")
    need("onnx", "onnxscript", "onnxruntime")
    return out


def _compare(
    exported: OnnxEncoder, encoder: SpeakerEncoder, batches: Sequence[np.ndarray], out: Path
) -> Exported:
    difference = largest_difference(exported, encoder, batches)
    tolerance = TOLERANCE[exported.precision]
    if not difference <= tolerance:
        raise TidyVoiceError(
            f"{out} is not written: its embeddings differ from the model's by {difference:.1e} of "
            f"their length, more than {tolerance:.0e}"
        )
    return Exported(out, exported.path.stat().st_size, difference, sum(map(len, batches)))
