"""Checks of the disk: room for what is still to be written, and the right to write it."""

import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tidyvoice.config import Experiment
from tidyvoice.doctor.cost import FLOAT_BYTES, classes_of, moments, training_data, weight_bytes
from tidyvoice.doctor.findings import Finding, judge, size
from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import only_writer
from tidyvoice.manifest import SAMPLE_RATE, Manifest

TAR_BLOCK = 512
WAV_HEADER = 44
SHORT_NAME = 100  # bytes of a tar member's name; a longer one takes two blocks more
HEADROOM = 1.1  # logs, scores, reports, and what else is written meanwhile


@dataclass(frozen=True)
class Need:
    """Bytes that are still to be written below a folder, and what they are."""

    folder: Path
    size: int
    what: str


def shard_need(folder: Path, manifest: Manifest) -> Need | None:
    """Of the shards of a data folder; None if they are there, or durations are not known."""
    table = manifest.table
    if (folder / "shards").exists() or table["seconds"].null_count():
        return None
    content = table.select(
        name=pl.col("utterance").str.len_bytes() + len(".wav"),
        wav=WAV_HEADER + 2 * (pl.col("seconds") * SAMPLE_RATE).round(),
    ).select(
        # Two members: a header each, the speaker's name, the samples; and long names twice.
        blocks=3
        + (pl.col("wav") / TAR_BLOCK).ceil()
        + pl.when(pl.col("name") > SHORT_NAME).then(4).otherwise(0)
    )
    return Need(folder, int(content["blocks"].sum() * TAR_BLOCK), f"shards of {folder}")


def checkpoint_need(settings: Experiment, classes: int) -> Need | None:
    """Of a training's checkpoints beyond those that are there; None if none is needed.

    Kept are the untrained model and those of the last epochs; one more is there while the next is
    written, and with ``checkpoint_iterations`` one between epochs. The averaged model comes last.
    """
    state, parameters = weight_bytes(settings)
    head = classes * settings.model.embed_dim * FLOAT_BYTES
    trained = state + head + moments(settings) * (parameters + head)
    files = min(settings.keep_checkpoints + 1, settings.epochs)
    files += settings.checkpoint_iterations is not None
    wanted = state + head + files * trained + state
    there = sum(path.stat().st_size for path in (settings.experiment / "models").glob("*.pt"))
    if there >= wanted:
        return None
    return Need(settings.experiment, wanted - there, f"checkpoints of {settings.experiment}")


def embedding_need(settings: Experiment, manifests: Iterable[Manifest]) -> Need | None:
    """Of one table for each data folder, beyond those that are there; None if none is needed.

    A row is a float32 vector and an id of 4-byte characters.
    """
    wanted = 0
    for manifest in manifests:
        longest = int(manifest.table["utterance"].str.len_chars().max())
        wanted += FLOAT_BYTES * (settings.model.embed_dim + longest) * len(manifest)
    folder = settings.experiment
    there = sum(path.stat().st_size for path in (folder / "embeddings").glob("*.npz"))
    return Need(folder, wanted - there, f"embeddings in {folder}") if wanted > there else None


def needs(
    experiments: Iterable[Experiment],
    folders: Mapping[Path, Manifest],
    parts: Mapping[Path, Manifest],
    extracted: Iterable[Path],
    exp: Path | None = None,
) -> list[Need]:
    """All that is still to be written: shards, checkpoints, embeddings.

    Args:
        folders: data folders that are there.
        parts: the same, but of a divided one its parts.
        extracted: those of which every model extracts embeddings.
        exp: where the trainings write, if not where their settings say.
    """
    experiments = list(experiments)
    found = [shard_need(folder, parts[folder]) for folder in packed(experiments, parts)]
    for settings in experiments:
        data = training_data(settings, folders)
        if exp is not None:
            settings = settings.model_copy(update={"experiment": exp})
        found.append(checkpoint_need(settings, classes_of(settings, data)))
        manifests = [folders[path] for path in extracted if path in folders]
        found.append(embedding_need(settings, manifests))
    return [need for need in found if need]


def packed(experiments: Iterable[Experiment], parts: Iterable[Path]) -> list[Path]:
    """Those that get shards: what the trainings read, or, without a training, all."""
    read = {path for settings in experiments for path in training_folders(settings)}
    return [part for part in parts if not read or not read.isdisjoint((part, part.parent))]


def training_folders(settings: Experiment) -> list[Path]:
    """The data folders that a training reads."""
    data = settings.data
    return [path for path in (*data.train, data.noise, data.rirs) if path is not None]


def room(wanted: Iterable[Need], outputs: Iterable[Path]) -> list[Finding]:
    """Free space of each file system against the sum of what is to be written there."""
    by_system: dict[int, list[Need]] = {}
    places: dict[int, Path] = {}
    for need in [*(Need(path, 0, "") for path in outputs), *wanted]:
        place = nearest(need.folder)
        system = place.stat().st_dev
        places.setdefault(system, place)
        by_system.setdefault(system, []).append(need)
    found = []
    for system, here in by_system.items():
        total = sum(need.size for need in here)
        free = shutil.disk_usage(places[system]).free
        parts = ", ".join(f"{need.what} {size(need.size)}" for need in here if need.size)
        expected = f"{size(total)} still to be written, an estimate: {parts}" if parts else ""
        mend = "free some space, or put --exp or the data folders on a larger disk"
        tight = "FAIL" if free < total else "WARN"
        good = free >= total * HEADROOM
        where = f"disk of {places[system].resolve()}"
        found.append(judge(good, where, f"{size(free)} free", expected, mend, tight))
    return found


def nearest(folder: Path) -> Path:
    """The folder itself, or else the first one above it that is there."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def writable(outputs: Iterable[Path]) -> list[Finding]:
    """Whether a file can be made in each folder, and whether another process writes there."""
    found = []
    for folder in outputs:
        place = nearest(folder)
        try:
            tempfile.TemporaryFile(dir=place).close()
        except OSError as error:
            reason = f"{place} cannot be written in ({error.strerror})"
            mend = "give another folder, or change its owner or rights"
            found.append(Finding("FAIL", str(folder), reason, "a writable folder", mend))
            continue
        found.append(Finding("OK", str(folder), "writable" if place == folder else "can be made"))
        if (folder / ".lock").exists():
            found += _lock(folder)
    return found


def _lock(folder: Path) -> list[Finding]:
    try:
        with only_writer(folder):
            return []
    except TidyVoiceError:
        measured = "another process is writing there"
        return [Finding("FAIL", str(folder), measured, "nobody", "wait for it or stop it")]
