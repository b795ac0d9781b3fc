"""Checks before a training: packages, device, data folders, expected counts, disk space."""

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import polars as pl
import torch
from pydantic import Field
from tqdm import tqdm

from tidyvoice.audio import load_torchaudio, measure
from tidyvoice.config import ModelSettings
from tidyvoice.data.manifest import Manifest, check, parts_of
from tidyvoice.errors import TidyVoiceError
from tidyvoice.headers import SAMPLE_RATE, has_header
from tidyvoice.packages import NOT_INSTALLED, install_command, installed_version, requirements
from tidyvoice.record import machine, package_versions
from tidyvoice.scoring.trials import read_trials
from tidyvoice.settings import Strict, load_settings

SAMPLED_HEADERS = 200
SHOWN_PROBLEMS = 10
TAR_BYTES = 2048  # headers and padding of an utterance in a shard
_size = partial(tqdm.format_sizeof, suffix="B")
Count = float | tuple[float, float]


class Corpus(Strict):
    """A corpus that consists of the data folders of these names; counts are exact or ranges."""

    folders: tuple[str, ...] = Field(min_length=1)
    speakers: Count | None = None
    utterances: Count | None = None
    hours: Count | None = None
    languages: Count | None = None


class Expected(Strict):
    """Counts of corpora, and lengths of trial lists by file name: conf/NAME/expected.yaml."""

    corpora: dict[str, Corpus] = Field(default_factory=dict)
    trials: dict[str, int] = Field(default_factory=dict)


@dataclass(frozen=True)
class Finding:
    """One line of the report: FAIL stops a stage or spoils its result, WARN may do so."""

    status: Literal["OK", "WARN", "FAIL"]
    where: str
    message: str
    fix: str = ""

    def __str__(self) -> str:
        fix = f". {self.fix}." if self.fix else ""
        return f"{self.status:<4}  {self.where}: {self.message}{fix}"


def judge(sound: bool, where: object, message: str, fix: str) -> Finding:
    """Return an OK, or a FAIL with its fix."""
    return Finding("OK" if sound else "FAIL", str(where), message, "" if sound else fix)


class Need(NamedTuple):
    """Number of bytes that are still to be written below a folder, and what they hold."""

    folder: Path
    what: str
    size: float


def examine(
    data: Sequence[Path],
    train: Sequence[Path],
    exp: Path | None,
    trials: Sequence[Path],
    expect: Path | None,
) -> dict[str, list[Finding]]:
    """Return the findings by topic; see the options of `tidyvoice doctor`."""
    expected = load_settings(Expected, expect) if expect else Expected()
    of_folders, tables = [], {}
    for folder in dict.fromkeys([*train, *data]):
        table, findings = read(folder)
        of_folders += findings
        if table is not None:
            tables[folder] = table
    needs = [shards(folder, tables[folder]) for folder in train if folder in tables]
    if exp:
        needs += [embeddings(exp, f, tables[f]) for f in data if f in tables]
    return {
        "programs": [*packages(), ffmpeg(t["path"] for t in tables.values())],
        "device": list(device()),
        "data": [*of_folders, *overlaps(tables)],
        "counts": [*corpora(expected.corpora, tables), *trial_lists(trials, expected.trials)],
        "disk": list(disk(needs)),
    }


def packages() -> list[Finding]:
    """Compare the installed packages with pyproject.toml, and import torchaudio."""
    findings = []
    for package in requirements():
        version = installed_version(package.name)
        if version == NOT_INSTALLED or not package.specifier.contains(version, prereleases=True):
            message = f"{version}, pyproject.toml asks for {package.specifier}"
            fix = f"Run in the repository: {install_command()}"
            findings.append(Finding("FAIL", package.name, message, fix))
    try:
        load_torchaudio()
    except TidyVoiceError as error:
        findings.append(Finding("FAIL", "torchaudio", str(error)))
    versions = ", ".join(f"{name} {version}" for name, version in package_versions().items())
    return findings or [Finding("OK", "packages", versions)]


def ffmpeg(paths: Iterable[pl.Series]) -> Finding:
    """Look for ffmpeg, which decodes the files that libsndfile cannot read."""
    endings = {end or "" for column in paths for end in column.str.extract(r"(\.[^./]*)$").unique()}
    foreign = sorted(ending or "unnamed" for ending in endings if not has_header(f"x{ending}"))
    program = shutil.which("ffmpeg")
    needed = f"needed to decode {', '.join(foreign)}" if foreign else "not needed by this data"
    message = f"{program or 'not installed'}, {needed}"
    return judge(bool(program or not foreign), "ffmpeg", message, "Install ffmpeg")


def device() -> Iterator[Finding]:
    """Describe the CPU and the GPUs; warn of a GPU that torch cannot use."""
    here = machine()
    features = torch.backends.cpu.get_cpu_capability()
    yield Finding("OK", "CPU", f"{here.cpu}, {here.cores} usable cores, {features}")
    for number, name in enumerate(here.gpus):
        free, total = torch.cuda.mem_get_info(number)
        bf16 = "bfloat16" if torch.cuda.is_bf16_supported(False) else "no bfloat16"
        message = f"{name}, {_size(free)} of {_size(total)} free, CUDA {here.cuda}, {bf16}"
        yield Finding("OK", f"GPU {number}", message)
    if torch.backends.mps.is_available():
        yield Finding("OK", "GPU", f"mps, {_size(torch.mps.recommended_max_memory())}")
    elif not here.gpus:
        message = "none"
        fix = "Train large networks on a GPU; `tidyvoice benchmark CONFIG` estimates the time here"
        if shutil.which("nvidia-smi"):
            build = f"built for CUDA {here.cuda}" if here.cuda else "built for the CPU only"
            message = f"torch {torch.__version__} ({build}) can use none"
            fix = "Update the driver, install a torch for its CUDA, or check CUDA_VISIBLE_DEVICES"
        yield Finding("WARN", "GPU", message, fix)


def read(folder: Path) -> tuple[pl.DataFrame | None, list[Finding]]:
    """Read the tables of a data folder (or of its parts) and a sample of the audio headers."""
    problems, parts = [], []
    try:
        for part in parts_of(folder):
            problems += check(part, audio=False)
            parts.append(Manifest.read(part).table)
    except TidyVoiceError as error:
        return None, [Finding("FAIL", str(folder), str(error))]
    table = pl.concat(parts)
    durations = table["seconds"]
    speakers, languages = table["speaker"].n_unique(), table["language"].drop_nulls().n_unique()
    counts = f"{table.height:,} utterances, {speakers:,} speakers, {languages} languages"
    findings = [Finding("OK", str(folder), counts)]
    if durations.null_count():
        message = "the durations are not known before the files are decoded"
        fix = "Leave 115 MB on the disk for each hour of shards"
        findings.append(Finding("WARN", str(folder), message, fix))
    else:
        hours, shortest, longest = durations.sum() / 3600, durations.min(), durations.max()
        message = f"{hours:,.2f} h, of {shortest:.3g} to {longest:.3g} s"
        findings.append(Finding("OK", str(folder), message))
    places = np.linspace(0, table.height - 1, min(table.height, SAMPLED_HEADERS)).astype(int)
    unfit = measure(table["path"].gather(places), minimum=1 / SAMPLE_RATE)[1]
    findings.append(Finding("OK", str(folder), f"headers of {len(places):,} files were read"))
    problems += filter(None, unfit)
    fix = "Restore the file, or run stage 1 again"
    findings += [Finding("FAIL", str(folder), line, fix) for line in problems[:SHOWN_PROBLEMS]]
    if (more := len(problems) - SHOWN_PROBLEMS) > 0:
        findings.append(Finding("FAIL", str(folder), f"{more:,} more such problems"))
    return table, findings


def overlaps(tables: Mapping[Path, pl.DataFrame]) -> Iterator[Finding]:
    """Report speakers that two data folders share: training and evaluation must not."""
    speakers = {folder: set(table["speaker"].unique()) for folder, table in tables.items()}
    for one, other in combinations(speakers, 2):
        if (shared := speakers[one] & speakers[other]) and not one.samefile(other):
            message = f"they share {len(shared):,} speakers, such as {min(shared)}"
            fix = "Leave these out of one folder, or prepare one corpus with a --prefix"
            yield Finding("FAIL", f"{one} and {other}", message, fix)


def corpora(
    expected: Mapping[str, Corpus], tables: Mapping[Path, pl.DataFrame]
) -> Iterator[Finding]:
    """Compare the counts of each corpus, summed over its data folders, with the expected ones."""
    resolved = {folder.resolve(): table for folder, table in tables.items()}
    for name, corpus in expected.items():
        present = [folder for folder in resolved if folder.name in corpus.folders]
        if not present:
            continue
        if len({folder.name for folder in present}) < len(present):
            message = f"{' and '.join(map(str, present))}: several folders of one name"
            yield Finding("FAIL", name, message, "Give only those of this corpus")
            continue
        table = pl.concat(resolved[folder] for folder in present)
        measured = {
            "speakers": table["speaker"].n_unique(),
            "utterances": table.height,
            "hours": table["seconds"].sum() / 3600,
            "languages": table["language"].drop_nulls().n_unique(),
        }
        for what, value in measured.items():
            if (wanted := getattr(corpus, what)) is None:
                continue
            least, most = wanted if isinstance(wanted, tuple) else (wanted, wanted)
            counted = f"{value:,.2f}" if what == "hours" else f"{value:,}"
            limits = f"{least:,.15g}" + (f" to {most:,.15g}" if most > least else "")
            message = f"{counted} {what}, expected {limits}"
            fix = (
                f"Give {' and '.join(corpus.folders)} with --data or --train, or prepare them again"
            )
            fix += "; run.sh skips this check with --counts any"
            yield judge(least <= value <= most, name, message, fix)


def trial_lists(lists: Sequence[Path], expected: Mapping[str, int]) -> Iterator[Finding]:
    """Read each list and compare its length."""
    for path in lists:
        try:
            count = len(read_trials(path))
        except TidyVoiceError as error:
            yield Finding("FAIL", str(path), str(error))
            continue
        wanted = expected.get(path.name)
        message = f"{count:,} trials" + (f", expected {wanted:,}" if wanted else "")
        yield judge(wanted in (None, count), path, message, "Download the list again")


def shards(folder: Path, table: pl.DataFrame) -> Need:
    """Return the space that the shards of a data folder still need: 16-bit samples in tar files."""
    packed = any(folder.glob("**/shards/shards.json"))
    size = table["seconds"].sum() * SAMPLE_RATE * 2 + table.height * TAR_BYTES
    return Need(folder, f"shards of {folder}", 0 if packed else size)


def embeddings(exp: Path, folder: Path, table: pl.DataFrame) -> Need:
    """Return the space for the embeddings of a data folder: float32 vectors and UTF-32 ids."""
    width = ModelSettings().embed_dim  # of most networks; the model may not exist yet
    row = width + table["utterance"].str.len_chars().max()
    return Need(exp, f"embeddings ({width} numbers each) of {folder}", 4 * row * table.height)


def disk(needs: Iterable[Need]) -> Iterator[Finding]:
    """Compare what is still to be written with the free space of each file system."""
    by_disk: dict[int, list[Need]] = {}
    for need in needs:
        place = next(p for p in (need.folder, *need.folder.absolute().parents) if p.exists())
        by_disk.setdefault(place.stat().st_dev, []).append(need._replace(folder=place))
    for local in by_disk.values():
        place, total = local[0].folder, sum(need.size for need in local)
        free = shutil.disk_usage(place).free
        parts = ", ".join(f"{need.what} {_size(need.size)}" for need in local)
        message = f"{_size(free)} free, about {_size(total)} to be written ({parts})"
        fix = "Free some space, or put data and experiments on a larger disk"
        yield judge(free >= total, f"disk of {place.resolve()}", message, fix)
