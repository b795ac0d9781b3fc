"""Cost of the checks of audio and shards: in packing, extraction, and at the start of a training.

    python benchmarks/checks.py                       # needs 0.3 GB of disk, takes a minute

The baseline reads the same files without a check: WAVs by Python's ``wave``, others by soundfile.
Both take turns on one thread, and times are seconds of its core, the least of the runs, so that
other programs on the machine count little. Extraction reads in the same way as packing; its share
is that of one thread that embeds with the published network on a CPU.
"""

import argparse
import tempfile
import time
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch

from tidyvoice.audio import read_part
from tidyvoice.data.manifest import scan
from tidyvoice.data.packing import write_shards
from tidyvoice.data.shards import ShardReader, table_hashes
from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.frontends import FrontendSettings
from tidyvoice.models import build_model

RATE, SECONDS = 16000, 6
FORMS = {"16-bit WAV": ("wav", "PCM_16"), "float WAV": ("wav", "FLOAT"), "FLAC": ("flac", "PCM_16")}


def unchecked(path: Path) -> np.ndarray:
    """All samples, read as before the checks."""
    try:
        with wave.open(str(path)) as file:
            return np.frombuffer(file.readframes(file.getnframes()), "<i2")
    except wave.Error:
        with soundfile.SoundFile(path) as file:
            is_float = file.subtype == "FLOAT"
            samples = file.read(dtype="float32" if is_float else "int16", always_2d=True)[:, 0]
    if is_float:
        samples = np.rint(samples * 32768).clip(-32768, 32767).astype("<i2")
    return np.ascontiguousarray(samples)


def seconds(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=300, help=f"of {SECONDS} s, of each form")
    parser.add_argument("--runs", type=int, default=15)
    args = parser.parse_args()
    rng = np.random.Generator(np.random.PCG64(1))
    torch.set_num_threads(1)
    encoder = SpeakerEncoder(build_model("SimAM_ResNet34_ASP"), FrontendSettings(), "cpu")
    samples = (3000 * rng.standard_normal((1, SECONDS * RATE))).astype(np.int16)
    encoder.embed_samples(samples)
    embedding = min(seconds(lambda: encoder.embed_samples(samples)) for _ in range(5))
    with tempfile.TemporaryDirectory(dir=".") as name:
        for form, (ending, subtype) in FORMS.items():
            root = Path(name) / form
            for number in range(args.files):
                path = root / f"corpus/id{number % 50}/video/{number}.{ending}"
                path.parent.mkdir(parents=True, exist_ok=True)
                noise = 0.1 * rng.standard_normal(SECONDS * RATE)
                soundfile.write(path, noise, RATE, subtype=subtype)
            paths, data = sorted((root / "corpus").rglob(f"*.{ending}")), root / "data"
            scan(root / "corpus", language_folder=False, endings=[f".{ending}"]).write(data)
            packing = seconds(lambda data=data: write_shards(data, threads=1)) / args.files
            times: dict[Callable, list[float]] = {unchecked: [], read_part: []}
            for _ in range(args.runs):
                for read, runs in times.items():
                    runs.append(seconds(lambda read=read, paths=paths: [read(p) for p in paths]))
            plain, checked = (min(runs) / args.files for runs in times.values())
            cost = checked - plain
            print(
                f"{form}: {1e6 * plain:,.0f} us a file without checks, {1e6 * checked:,.0f} with: "
                f"{cost / packing:+.1%} of packing, {cost / embedding:+.2%} of extraction"
            )
        reader = ShardReader(data)
        opening = seconds(lambda: ShardReader(data))
        print(
            f"start of a training: {1e3 * seconds(reader.check_sample):.0f} ms to compare a sample "
            f"of {len(reader):,} utterances, {1e3 * opening:.0f} ms to open the shards, of which "
            f"{1e3 * seconds(lambda: table_hashes(data)):.1f} ms are the hashes of the tables"
        )


if __name__ == "__main__":
    main()
