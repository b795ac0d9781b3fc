"""Rate and peak memory of listing a corpus and of packing it into shards.

    python benchmarks/preparation.py                       # a million files, 20,000 packed
    python benchmarks/preparation.py --files 20000 --packed 2000

The files are hard links to a few WAVs of 3 s, laid out SPEAKER/VIDEO/UTTERANCE.wav: each has a
name, a folder entry and a header that is read, as a million different files would. The disk's own
speed is that of copying the same bytes from file to file. Each step runs in its own process.
"""

import argparse
import multiprocessing
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from tidyvoice.data.manifest import scan
from tidyvoice.data.packing import write_shards

VIDEOS, EACH, LINKS = 10, 10, 20_000


def make(root: Path, files: int) -> None:
    """The corpus: 100 utterances a speaker."""
    rng = np.random.Generator(np.random.PCG64(1))
    source = root
    for number in range(files):
        if number % LINKS == 0:  # file systems bound the links to one file
            source = root.parent / f"source-{number}.wav"
            soundfile.write(source, 0.1 * rng.standard_normal(3 * 16000), 16000)
        speaker, rest = divmod(number, VIDEOS * EACH)
        folder = root / f"id{speaker:05d}" / f"video-{rest // EACH:02d}"
        if rest % EACH == 0:
            folder.mkdir(parents=True)
        os.link(source, folder / f"{rest % EACH:05d}.wav")


def list_files(root: Path, out: Path) -> None:
    scan(root, language_folder=False).write(out)


def copy(root: Path, out: Path) -> None:
    with open(out, "wb") as target:
        for path in sorted(root.rglob("*.wav")):
            with open(path, "rb") as file:
                shutil.copyfileobj(file, target)
        os.fsync(target.fileno())


def measured(step: Callable[..., object], *arguments: object) -> tuple[float, float]:
    """Wall-clock seconds and peak memory in MiB, in a new process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, (step, *arguments))


def _measure(step: Callable[..., object], *arguments: object) -> tuple[float, float]:
    start = time.perf_counter()
    step(*arguments)
    return time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--packed", type=int, default=20_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name)
        make(folder / "corpus", options.files)
        seconds, peak = measured(list_files, folder / "corpus", folder / "data")
        rate = options.files / seconds
        print(f"listing, headers, tables: {rate:,.0f} files/s, {peak:,.0f} MiB", flush=True)

        make(folder / "few", options.packed)
        list_files(folder / "few", folder / "packed")
        size = options.packed * (folder / "few/id00000/video-00/00000.wav").stat().st_size / 2**20
        plain, _ = measured(copy, folder / "few", folder / "copy")
        (folder / "copy").unlink()
        seconds, peak = measured(write_shards, folder / "packed")
        print(
            f"shards: {size / seconds:,.0f} MiB/s, {options.packed / seconds:,.0f} files/s, "
            f"{peak:,.0f} MiB; copying the same bytes: {size / plain:,.0f} MiB/s"
        )


if __name__ == "__main__":
    main()
