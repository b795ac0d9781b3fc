"""Export with a check: the file is run and compared with the model before it is kept."""

import hashlib
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.errors import TidyVoiceError
from tidyvoice.export.graph import onnx_model, quantise
from tidyvoice.export.onnx_encoder import ENDING, METADATA, Description, OnnxEncoder, need
from tidyvoice.extraction.extract import AudioFolder
from tidyvoice.files import atomic_path
from tidyvoice.frontends import Frontend
from tidyvoice.headers import SAMPLE_RATE
from tidyvoice.kaldi_tables import read_table

# Largest relative L2 difference from the model's embedding.
TOLERANCE = {"float32": 1e-4, "int8": 0.5}
CHECKED_FRAMES = (1, 2, 9, 50, 127, 200, 333, 600)
CHECKED_BATCHES = (1, 3)


@dataclass(frozen=True)
class Exported:
    """An exported file; embeddings differ by at most ``difference`` of their L2 length."""

    path: Path
    bytes: int
    difference: float
    compared: int  # embeddings


def export(
    encoder: SpeakerEncoder,
    out: str | Path,
    input: str = "waveform",
    int8: str | Path | None = None,
    limit: int = 200,
) -> Exported:
    """Write a model as ONNX, for any number of utterances of any equal length.

    The options are those of `tidyvoice export`. The file is compared with the model.
    """
    out = Path(out)
    if out.suffix != ENDING:
        raise TidyVoiceError(f"--out {out}: give a name that ends in {ENDING}")
    onnx = need("onnxscript", "onnxruntime", "onnx")
    speakers = None if encoder.trained_on is None else sorted(encoder.trained_on)
    description = Description(
        input=input, precision="float32", frame_bytes=encoder.frame_bytes, sample_rate=SAMPLE_RATE,
        frontend=encoder.settings, weights=encoder.weights, trained_on=speakers,
    )  # fmt: skip
    if int8:
        batches, used = _calibration(int8, encoder.frontend, limit)
    else:
        batches = _noises(encoder.frontend)

    with atomic_path(out) as partial:

        def write(model: Any) -> OnnxEncoder:
            onnx.helper.set_model_props(model, {METADATA: description.model_dump_json()})
            content = model.SerializeToString()
            checksum = hashlib.sha256(content).hexdigest()
            partial.write_bytes(content.replace(description.checksum.encode(), checksum.encode()))
            return OnnxEncoder(partial)

        exported = write(onnx_model(encoder, input))
        if int8:
            description.precision = "int8"
            if speakers is not None:
                description.trained_on = sorted({*speakers, *used})
            exported = write(quantise(exported, batches, partial))
        difference = max(_difference(exported, encoder, samples) for samples in batches)
        tolerance = TOLERANCE[description.precision]
        if not difference <= tolerance:
            size = f"{difference:.1e} of their length, more than {tolerance:.0e}"
            raise TidyVoiceError(f"{out} is not written: its embeddings differ by {size}")
        return Exported(out, partial.stat().st_size, difference, sum(map(len, batches)))


def _calibration(
    data: str | Path, frontend: Frontend, limit: int
) -> tuple[list[np.ndarray], list[str]]:
    """Return random utterances of a data folder, int16 [1 x S] each, and their speakers."""
    source = AudioFolder(data)
    rows = np.flatnonzero(source.samples >= frontend.num_samples(1))
    if not len(rows):
        raise TidyVoiceError(f"{data} has no utterance of a frame or more: give another folder")
    rows = np.sort(np.random.default_rng(1).permutation(rows)[:limit]).tolist()
    speakers = dict(read_table(Path(data) / "utt2spk", "speaker").iter_rows())
    return [source.read(row)[None] for row in rows], [speakers[source.ids[row]] for row in rows]


def _noises(frontend: Frontend) -> list[np.ndarray]:
    """Return noise int16 [B x S] in batches of several sizes and lengths, from quiet to loud."""
    random = np.random.default_rng(1)
    batches = []
    for frames, size in itertools.product(CHECKED_FRAMES, CHECKED_BATCHES):
        # No whole number of frames: the samples after the last frame must not matter.
        samples = frontend.num_samples(frames) + frontend.frame_shift // 3
        noise = 10 ** random.uniform(1, 4, (size, 1)) * random.standard_normal((size, samples))
        batches.append(noise.clip(-32768, 32767).astype(np.int16))
    return batches


def _difference(exported: OnnxEncoder, encoder: SpeakerEncoder, samples: np.ndarray) -> float:
    """Return the largest relative L2 difference of an embedding of samples int16 [B x S]."""
    expected = encoder.embed_samples(samples)
    difference = np.linalg.norm(exported.embed_samples(samples) - expected, axis=1)
    return float((difference / np.linalg.norm(expected, axis=1)).max())
