"""What a result was made with: versions of the packages and of this source tree."""

import platform
import subprocess
from importlib import metadata
from pathlib import Path

PACKAGES = ("tidyvoice", "torch", "torchaudio", "numpy", "scipy", "polars")


def versions() -> list[tuple[str, str]]:
    """Name and version of Python and of each package, none of which is imported for it."""
    lines = [("python", platform.python_version())]
    for package in PACKAGES:
        try:
            lines.append((package, metadata.version(package)))
        except metadata.PackageNotFoundError:
            lines.append((package, "not installed"))
    lines.insert(2, ("revision", _revision() or "not a checkout of the source"))
    return lines


def _revision() -> str | None:
    """The git revision of this source tree; None where the package is installed from a wheel."""
    here = Path(__file__)
    try:
        # An installed copy may lie inside somebody else's repository, which does not track it.
        for command in (["ls-files", "--error-unmatch", here.name], ["describe", "--always"]):
            git = ["git", "--no-optional-locks", "-C", str(here.parent), *command]
            if command[0] == "describe":
                git += ["--dirty", "--abbrev=12"]
            run = subprocess.run(git, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return run.stdout.strip()
