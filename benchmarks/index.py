"""Memory and time of the index of ten million utterances in a training.

    python benchmarks/index.py                    # needs 0.3 GB of disk for the index

The index is that of shards whose audio is not there: ids as long as VoxBlink2's, 111,000 speakers.
Memory is the process' (resident), less what it had after its imports. Each process of a training
holds an index of its own. Each order is made in its own process.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from tidyvoice.config import DataSettings
from tidyvoice.data.batches import TrainingData
from tidyvoice.data.shards import INDEX, SUMMARY, Summary
from tidyvoice.files import sha256

SPEAKERS, PER_SHARD, BYTES = 111_000, 5_000, 320_000
SHARD_BYTES = PER_SHARD * BYTES
SAMPLERS = ({"name": "Shuffled"}, {"name": "Balanced", "args": {"by": "speaker"}})


def make(folder: Path, utterances: int) -> None:
    """The index of a data folder, and its summary."""
    rng = np.random.Generator(np.random.PCG64(1))
    speakers = pl.Series(np.sort(rng.integers(0, SPEAKERS, utterances)) + 100_000)
    videos = pl.Series(rng.integers(10**10, 10**11, utterances))
    numbers = pl.Series(np.arange(utterances))
    table = pl.select(
        shard=pl.format("shard-{}.tar", numbers // PER_SHARD),
        key=pl.format("id{}/{}/{}.wav", speakers, videos, numbers % 100_000),
        speaker=pl.format("id{}", speakers),
        language=pl.lit(None, dtype=pl.String),
        offset=(numbers % PER_SHARD) * BYTES,
        samples=pl.Series(rng.integers(32_000, 160_000, utterances)),
        crc32=pl.Series(rng.integers(0, 2**32, utterances, np.uint32)),
    )
    shards = folder / "shards"
    shards.mkdir()
    table.write_parquet(shards / INDEX)
    names = table["shard"].unique(maintain_order=True).to_list()
    for name in names:
        with open(shards / name, "wb") as file:
            file.truncate(SHARD_BYTES)  # takes no space on the disk
    summary = Summary(
        format=2, fingerprint="", tables={}, index=sha256(shards / INDEX), content="",
        shards=dict.fromkeys(names, SHARD_BYTES), utterances=utterances,
    )  # fmt: skip
    (shards / SUMMARY).write_text(summary.model_dump_json())


def memory() -> tuple[float, float]:
    """Of this process, now and at most so far, in GB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return pages * resource.getpagesize() / 1e9, peak * 1024 / 1e9


def measure(folder: Path, sampler: dict) -> str:
    before = memory()[0]
    start = time.perf_counter()
    data = TrainingData(DataSettings(train=folder, sampler=sampler), 32_000, seed=1)
    loaded = time.perf_counter() - start
    data._order(0)
    ordered = time.perf_counter() - start - loaded
    now, peak = (value - before for value in memory())
    return (
        f"{sampler['name']}: {now:.2f} GB, {peak:.2f} GB at most; loaded in {loaded:.1f} s, "
        f"an order in {ordered:.1f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--utterances", type=int, default=10_000_000)
    args = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        with spawn.Pool(1) as pool:
            pool.apply(make, (Path(folder), args.utterances))
        for sampler in SAMPLERS:
            with spawn.Pool(1) as pool:
                print(pool.apply(measure, (Path(folder), sampler)))


if __name__ == "__main__":
    main()
