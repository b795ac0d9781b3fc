"""What a training ran with: ``record.json`` of an experiment, one entry each time it was run.

The settings stand in ``config.yaml``; the record holds what they do not say and what another result
may come from: program, packages, machine, data. Nothing in it names the host or its user, and the
environment's variables are left out.

Only ``record_run`` needs torch: ``tidyvoice runs`` reads records without it.
"""

import json
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from pydantic import BaseModel, ConfigDict, Field

from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import write_text
from tidyvoice.packages import installed_version
from tidyvoice.readahead import usable_cores
from tidyvoice.settings import differences, validate

RECORD = "record.json"
DISTRIBUTION = "tidyvoice"
# Recorded also where the package runs from its source tree, whose requirements nothing tells.
ALWAYS = (DISTRIBUTION, "torch", "torchaudio", "numpy")
GIT_SECONDS = 10.0  # a repository on a network that hangs must not hold up a training
SECRET = re.compile("token|key|passw|secret|credential", re.IGNORECASE)
HIDDEN = "HIDDEN"
NO_DIFFERENCE = {"when", "steps"}


class Part(BaseModel):
    """A part of the record; what a later version adds to it is no mistake."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Machine(Part):
    """What it ran on; ``cores`` are those that the process may use."""

    platform: str
    cpu: str
    cores: int
    gpus: tuple[str, ...]
    cuda: str | None
    cudnn: int | None


class Git(Part):
    """The state of the source tree.

    Attributes:
        commit: None before the first one.
        branch: None where none is checked out.
        changed: tracked files that differ from the commit, and files of the package that git
            neither tracks nor ignores.
    """

    commit: str | None
    branch: str | None
    changed: int

    def __str__(self) -> str:
        return f"{(self.commit or 'no commit')[:8]}{'+' if self.changed else ''}"


class Run(Part):
    """One run of a training, from its start or from a checkpoint on.

    Attributes:
        when: UTC.
        command: as a line for a shell, the program without its folder; secrets masked.
        steps: of the whole training.
        inputs: checksums of what it reads, by role.
        versions: of Python and of the packages that this one requires.
        git: None where git, or a repository that holds this package, is not there.
    """

    when: datetime
    command: str
    seed: int
    steps: int
    world_size: int
    inputs: dict[str, str]
    versions: dict[str, str]
    machine: Machine
    git: Git | None


class Record(Part):
    """The runs of a training, the first one first."""

    runs: tuple[Run, ...] = Field(min_length=1)


def record_run(folder: Path, inputs: Mapping[str, str], seed: int, steps: int) -> list[str]:
    """Add this run of a training to ``folder/record.json``; call it before the first step.

    The file is written whole or not at all, and runs that stand in it already stay. With several
    processes the first one alone calls it.

    Args:
        inputs: checksums of what is read, by role: "data", "noise".
        steps: of the whole training.

    Returns:
        What is not as in the first run, a line each; nothing if this is the first.

    Raises:
        TidyVoiceError: there is a record that cannot be read.
    """
    before = read_record(folder)
    run = Run(
        when=datetime.now(timezone.utc).replace(microsecond=0),
        command=shell_line(sys.argv),
        seed=seed,
        steps=steps,
        world_size=int(os.environ.get("WORLD_SIZE", "1")),
        inputs=dict(inputs),
        versions=package_versions(),
        machine=machine(),
        git=source_state(),
    )
    record = Record(runs=(*before, run))
    write_text(folder / RECORD, record.model_dump_json(indent=2) + "\n")
    changed = run_differences(before[0], run) if before else {}
    return [f"{key} was {old}, is {new}" for key, (old, new) in changed.items()]


def read_record(folder: Path) -> tuple[Run, ...]:
    """The runs of a training, the first one first; none where nothing was recorded.

    Raises:
        TidyVoiceError: what stands there is no such record.
    """
    path = folder / RECORD
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ()
    except ValueError as error:
        raise TidyVoiceError(
            f"{path}: cannot be read ({error}); move it away, what it held is then not known"
        ) from None
    return validate(Record, values, path).runs


def run_differences(first: Run, second: Run) -> dict[str, tuple[object, object]]:
    """Dotted keys of what two runs differ in (None where absent), and both values."""
    one, two = (run.model_dump(mode="json", exclude=NO_DIFFERENCE) for run in (first, second))
    return differences(one, two)


def shell_line(words: Sequence[str]) -> str:
    """A command as a line for a shell, secrets masked, the program without its folder."""
    program = Path(words[0])
    shown = [program.name]
    if program.name == "__main__.py":
        shown = ["python", "-m", program.parent.name]
    after_secret = False
    for word in words[1:]:
        key, given, _ = word.partition("=")
        if after_secret:
            word = HIDDEN
        elif given and SECRET.search(key):
            word = f"{key}={HIDDEN}"
        after_secret = not given and word.startswith("-") and bool(SECRET.search(word))
        # The name and password of an address.
        shown.append(re.sub(r"://[^/@\s]+@", f"://{HIDDEN}@", word))
    return shlex.join(shown)


def package_versions() -> dict[str, str]:
    """Versions of Python and of each package that this one requires, itself among them."""
    try:
        required = [Requirement(text) for text in metadata.requires(DISTRIBUTION) or []]
    except metadata.PackageNotFoundError:
        required = []
    core = [r.name for r in required if r.marker is None or r.marker.evaluate({"extra": ""})]
    found = {"python": platform.python_version()}
    return found | {name: installed_version(name) for name in dict.fromkeys([*ALWAYS, *core])}


def source_state() -> Git | None:
    """The state of the repository that tracks this package; None if there is none to be had."""
    # An installed copy may lie inside somebody else's repository, which does not track it.
    if _git("ls-files", "--error-unmatch", str(Path(__file__).resolve())) is None:
        return None
    state = _git("status", "--porcelain=v2", "--branch", "--untracked-files=no")
    new = _git("ls-files", "--others", "--exclude-standard")
    if state is None or new is None:
        return None
    about, changed = {}, len(new.splitlines())
    for line in state.splitlines():
        words = line.split(" ", 2)
        if words[0] == "#":
            about[words[1]] = words[2]
        else:
            changed += 1
    commit, branch = about.get("branch.oid"), about.get("branch.head")
    return Git(
        commit=None if commit == "(initial)" else commit,
        branch=None if branch == "(detached)" else branch,
        changed=changed,
    )


def _git(*arguments: str) -> str | None:
    """What git prints about the package's folder; None if it fails or takes too long."""
    here = Path(__file__).resolve().parent
    quiet = ["--no-optional-locks", "-c", "core.fsmonitor=false"]
    try:
        run = subprocess.run(
            ["git", *quiet, "-C", str(here), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=GIT_SECONDS,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return run.stdout.decode("utf-8", "replace")


def machine() -> Machine:
    import torch

    gpus = range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    return Machine(
        platform=platform.platform(),
        cpu=_cpu(),
        cores=usable_cores(),
        gpus=tuple(map(torch.cuda.get_device_name, gpus)),
        cuda=torch.version.cuda,
        cudnn=torch.backends.cudnn.version() if torch.backends.cudnn.is_available() else None,
    )


def _cpu() -> str:
    """The model of the processor, as far as the system tells it."""
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        told = ""
    model = re.search(r"^model name\s*:\s*(.+)$", told, re.MULTILINE)
    return model[1].strip() if model else platform.processor() or platform.machine()
