"""``record.json`` of an experiment: one entry for each run of its training.

The settings are in ``config.yaml``; the record holds all else that can change the result, and
neither environment variables nor the name of the host or its user. Only ``machine`` needs torch.
"""

import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path

from pydantic import Field

from tidyvoice.files import write_text
from tidyvoice.packages import DISTRIBUTION, installed_version, requirements
from tidyvoice.readahead import usable_cores
from tidyvoice.settings import Strict, differences, read_json

RECORD = "record.json"
# Recorded also if the package is not installed, so that its requirements are unknown.
ALWAYS = (DISTRIBUTION, "torch", "torchaudio", "numpy")
GIT_SECONDS = 10.0  # a hanging network drive must not delay a training


class Machine(Strict):
    """The machine; ``cores`` are those that the process may use."""

    platform: str
    cpu: str
    cores: int = Field(ge=1)
    gpus: tuple[str, ...]
    cuda: str | None
    cudnn: int | None


class Git(Strict):
    """The commit, and the number of tracked files and new files of the package that differ."""

    commit: str
    changed: int = Field(ge=0)

    def __str__(self) -> str:
        return f"{self.commit[:8]}{'+' if self.changed else ''}"


class Run(Strict):
    """One run of a training, from its start or from a checkpoint."""

    when: datetime  # UTC
    command: str  # without the folder of the program
    seed: int = Field(ge=0)
    steps: int = Field(ge=0)  # of the whole training
    world_size: int = Field(ge=1)
    inputs: dict[str, str]  # checksums by role
    versions: dict[str, str]
    machine: Machine
    git: Git | None


class Record(Strict):
    """All runs of a training, the first one first."""

    runs: tuple[Run, ...] = Field(min_length=1)


def record_run(folder: Path, inputs: Mapping[str, str], seed: int, steps: int) -> list[str]:
    """Add this run of a training to the record; return a line for each difference to the first."""
    program = Path(sys.argv[0])
    module = program.name == "__main__.py"
    run = Run(
        when=datetime.now(timezone.utc).replace(microsecond=0),
        command=shlex.join([program.parent.name if module else program.name, *sys.argv[1:]]),
        seed=seed,
        steps=steps,
        world_size=int(os.environ.get("WORLD_SIZE", "1")),
        inputs=dict(inputs),
        versions=package_versions(),
        machine=machine(),
        git=source_state(),
    )
    record = Record(runs=(*read_record(folder), run))
    write_text(folder / RECORD, record.model_dump_json(indent=2) + "\n")
    first, last = (
        each.model_dump(mode="json", exclude={"when", "steps"}) for each in (record.runs[0], run)
    )
    return [f"{key} was {old}, is {new}" for key, (old, new) in differences(first, last).items()]


def read_record(folder: Path) -> tuple[Run, ...]:
    """Return the runs of a training, the first one first; none without a record."""
    path = folder / RECORD
    return read_json(Record, path, "move it away").runs if path.is_file() else ()


def package_versions() -> dict[str, str]:
    """Return the versions of Python, this package and the packages that it requires."""
    names = [*ALWAYS, *(required.name for required in requirements())]
    python = {"python": platform.python_version()}
    return python | {name: installed_version(name) for name in dict.fromkeys(names)}


def source_state() -> Git | None:
    """Return the state of the repository that tracks this package; None without one."""
    try:
        # An installed copy may lie inside a repository of the user, which does not track it.
        _git("ls-files", "--error-unmatch", Path(__file__).name)
        changed = _git("status", "--porcelain", "--untracked-files=no")
        changed += _git("ls-files", "--others", "--exclude-standard")
        return Git(commit=_git("rev-parse", "HEAD").strip(), changed=len(changed.splitlines()))
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*arguments: str) -> str:
    """Return what git prints about the folder of this package."""
    command = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false", *arguments]
    options = {"cwd": Path(__file__).resolve().parent, "stdin": subprocess.DEVNULL}
    run = subprocess.run(
        command, capture_output=True, check=True, timeout=GIT_SECONDS, errors="replace", **options
    )
    return run.stdout


def machine() -> Machine:
    """Return what this process runs on."""
    import torch

    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text(errors="replace") if cpuinfo.is_file() else ""
    cpu = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return Machine(
        platform=platform.platform(),
        cpu=cpu[1].strip() if cpu else platform.processor() or platform.machine(),
        cores=usable_cores(),
        gpus=tuple(map(torch.cuda.get_device_name, range(torch.cuda.device_count()))),
        cuda=torch.version.cuda,
        cudnn=torch.backends.cudnn.version(),
    )
