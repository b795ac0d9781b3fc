"""Checks of the machine: packages, ffmpeg, CPU and GPUs, free space."""

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Literal, NamedTuple

import polars as pl
import torch
from packaging.requirements import Requirement
from tqdm import tqdm

from tidyvoice.audio import load_torchaudio
from tidyvoice.errors import TidyVoiceError
from tidyvoice.headers import has_header
from tidyvoice.packages import NOT_INSTALLED, install_command, installed_version
from tidyvoice.record import machine, package_versions


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


_size = partial(tqdm.format_sizeof, suffix="B")


class Need(NamedTuple):
    """Number of bytes that are still to be written below a folder, and what they hold."""

    folder: Path
    what: str
    size: float


def packages() -> list[Finding]:
    """Compare the installed packages with pyproject.toml, and import torchaudio."""
    findings = []
    for package in map(Requirement, metadata.requires("tidyvoice") or []):
        if package.marker and not package.marker.evaluate({"extra": ""}):
            continue
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
