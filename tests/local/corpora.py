"""Miniature corpora, their archives, and the commands that read them."""

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import soundfile
from conftest import seeded

from tests.preloaded import Completed, environment, failing, run


def write_wav(path: Path, seconds: float = 0.3, rate: int = 16000, channels: int = 1) -> Path:
    """Noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = 0.1 * seeded(len(str(path)), channels).standard_normal((int(seconds * rate), channels))
    soundfile.write(path, np.clip(noise, -1, 1), rate, subtype="PCM_16")
    return path


def pack(archive: Path, content: Path, name: str) -> Path:
    """A tar.gz or zip of a folder, which is called ``name`` in it, or has no name."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as file:
            for path in sorted(content.rglob("*")):
                file.write(path, Path(name) / path.relative_to(content))
        return archive
    with tarfile.open(archive, "w:gz") as file:
        file.add(content, name or ".")
    return archive


def tar(files: dict[str, bytes], mode: str = "w:gz") -> bytes:
    """Return a tar of these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zipped(files: dict[str, bytes | str]) -> bytes:
    """Return a zip of these files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def call(module: str, *arguments: object, **changes: str) -> Completed:
    """``python -m local.MODULE ARGUMENTS`` as a user calls it."""
    return run("python", "-m", f"local.{module}", *arguments, env=environment(**changes))


def succeed(*command: object, **environment: str) -> str:
    """Return the output of the command, which must succeed without a warning."""
    done = call(*command, **environment)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
    return done.stdout


def fail(*command: object, **environment: str) -> str:
    """Return the one line in which the command ends."""
    return failing(call(*command, **environment))
