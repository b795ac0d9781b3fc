"""What the tests of publishing share."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.fake_hub import TOKEN, FakeHub

TEXTS = (".md", ".json", ".yaml", ".txt")


@dataclass(frozen=True)
class Trained:
    """Two experiments in ``folder``, the second one begun with the first; and all speakers."""

    folder: Path
    first: Path
    second: Path
    speakers: list[str]


def run(hub: FakeHub, where: Path, *command: object, **environment: str):
    """A Python command in a process of its own: huggingface_hub reads its environment once."""
    return subprocess.run(
        [sys.executable, *map(str, command)],
        env=hub.environment(where / "home", **{"HF_TOKEN": TOKEN, **environment}),
        capture_output=True,
        text=True,
        timeout=120,
        cwd=where,
    )


def push(hub: FakeHub, where: Path, *arguments: object, **environment: str):
    return run(hub, where, "-m", "tidyvoice", "hub", "push", *arguments, **environment)


def failing(result) -> str:
    """The one line of an error."""
    assert result.returncode == 1, result.stdout + result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    return line


def texts(folder: Path) -> dict[str, str]:
    """The texts of a folder by the names of their files."""
    return {path.name: path.read_text() for path in folder.iterdir() if path.suffix in TEXTS}
