"""Export of a model: the file is written, run, and compared with the model before it is kept."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.errors import TidyVoiceError
from tidyvoice.export.description import Input, describe
from tidyvoice.export.encoders import (
    ONNX,
    TORCH,
    ExportedEncoder,
    OnnxEncoder,
    ProgramEncoder,
    need,
)
from tidyvoice.export.graphs import annotate, onnx_model
from tidyvoice.export.int8 import quantise
from tidyvoice.export.programs import FEWEST_FRAMES, program_bytes, trace
from tidyvoice.extraction.extract import Source
from tidyvoice.files import atomic_path
from tidyvoice.frontends import Frontend
from tidyvoice.kaldi_tables import read_table

Format = Literal["onnx", "torch"]
ENDINGS = {"onnx": ONNX, "torch": TORCH}
# Largest relative L2 difference from the model, of any one embedding.
TOLERANCE = {"float32": 1e-4, "int8": 0.5}
CHECKED_FRAMES = (1, 2, FEWEST_FRAMES, 50, 127, 200, 333, 600)
CHECKED_BATCHES = (1, 3)


@dataclass(frozen=True)
class Exported:
    """A file that has been written.

    Attributes:
        path: the file.
        bytes: its size.
        difference: the largest relative L2 difference of an embedding from the model's.
        compared: how many embeddings were compared.
    """

    path: Path
    bytes: int
    difference: float
    compared: int


def export(
    encoder: SpeakerEncoder,
    out: str | Path,
    input: Input = "waveform",
    format: Format = "onnx",
) -> Exported:
    """Write a model in float32, for any number of utterances of any length.

    A program of torch.export takes utterances of ``FEWEST_FRAMES`` frames and more.

    Raises:
        TidyVoiceError: the ending of ``out`` is another format's, the extra is not installed, or
            the file does not compute what the model does; then nothing is written.
    """
    out = _named(out, format)
    if format == "onnx":
        need("onnx", "onnxscript", "onnxruntime")
    program = trace(encoder, input)
    description = describe(encoder, input, FEWEST_FRAMES if format == "torch" else 1)
    with atomic_path(out) as partial:
        if format == "torch":
            partial.write_bytes(program_bytes(program, description))
            made: ExportedEncoder = ProgramEncoder(partial)
        else:
            partial.write_bytes(onnx_model(program, description).SerializeToString())
            made = OnnxEncoder(partial)
        return _checked(made, encoder, noises(encoder.frontend, description.fewest_frames), out)


def export_int8(
    encoder: SpeakerEncoder,
    out: str | Path,
    data: str | Path,
    input: Input = "waveform",
    limit: int = 200,
    seed: int = 1,
) -> Exported:
    """Write a model as ONNX with its convolutions in 8 bits.

    Args:
        data: a data folder, of the kind that the model was trained on, to take the ranges from.
            Its speakers count as trained on.
        limit: utterances of it at most, drawn by ``seed``. The file is compared with the model on
            the same ones.

    Raises:
        TidyVoiceError: as ``export``; the folder holds no utterance, or one cannot be read.
    """
    out = _named(out, "onnx")
    need("onnx", "onnxscript", "onnxruntime")
    batches, speakers = calibration(data, encoder.frontend, limit, seed)
    description = describe(encoder, input)
    float32 = onnx_model(trace(encoder, input), description)
    if description.trained_on is not None:
        speakers = sorted({*description.trained_on, *speakers})
        description = replace(description, trained_on=speakers)
    description = replace(description, precision="int8")
    with atomic_path(out) as partial:
        partial.write_bytes(float32.SerializeToString())
        model = quantise(OnnxEncoder(partial), batches, partial)
        annotate(model, description)
        partial.write_bytes(model.SerializeToString())
        return _checked(OnnxEncoder(partial), encoder, batches, out)


def calibration(
    data: str | Path, frontend: Frontend, limit: int, seed: int
) -> tuple[list[np.ndarray], list[str]]:
    """Utterances of a data folder, int16 [1 x S] each, and their speakers."""
    source = Source(data)
    rows = [row for row, size in enumerate(source.samples) if frontend.num_frames(int(size))]
    if not rows:
        raise TidyVoiceError(f"{data} holds no utterance of a frame or more: give another folder")
    rows = np.sort(np.random.default_rng(seed).permutation(rows)[:limit]).tolist()
    speakers = dict(read_table(Path(data) / "utt2spk", "speaker").iter_rows())
    return [source.read(row)[None] for row in rows], [speakers[source.ids[row]] for row in rows]


def noises(frontend: Frontend, fewest_frames: int = 1) -> list[np.ndarray]:
    """Noise int16 [B x S] in batches of several sizes and lengths, from quiet to loud."""
    random = np.random.default_rng(1)
    found = []
    for frames in CHECKED_FRAMES:
        for size in CHECKED_BATCHES:
            if frames >= fewest_frames:
                # Not whole frames: what is left over at the end must not matter.
                samples = frontend.num_samples(frames) + frontend.frame_shift // 3
                loudness = 10 ** random.uniform(1, 4, (size, 1))
                white = random.standard_normal((size, samples))
                noise = loudness * (white + 0.1 * white.cumsum(axis=1))
                found.append(noise.clip(-32768, 32767).astype(np.int16))
    return found


def largest_difference(
    made: ExportedEncoder, encoder: SpeakerEncoder, batches: Sequence[np.ndarray]
) -> float:
    """The largest relative L2 difference of an embedding of int16 [B x S] batches."""
    worst = 0.0
    for samples in batches:
        expected = encoder.embed_samples(samples)
        difference = np.linalg.norm(made.embed_samples(samples) - expected, axis=1)
        worst = max(worst, float((difference / np.linalg.norm(expected, axis=1)).max()))
    return worst


def _checked(
    made: ExportedEncoder, encoder: SpeakerEncoder, batches: Sequence[np.ndarray], out: Path
) -> Exported:
    difference = largest_difference(made, encoder, batches)
    most = TOLERANCE[made.description.precision]
    if not difference <= most:
        raise TidyVoiceError(
            f"{out} is not written: its embeddings differ from the model's by {difference:.1e} of "
            f"their length, more than {most:.0e}"
        )
    return Exported(out, made.path.stat().st_size, difference, sum(map(len, batches)))


def _named(out: str | Path, format: Format) -> Path:
    out = Path(out)
    if out.suffix != ENDINGS[format]:
        raise TidyVoiceError(
            f"--out {out}: the name of --format {format} ends in {ENDINGS[format]}"
        )
    return out
