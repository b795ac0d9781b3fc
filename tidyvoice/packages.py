"""Installed packages, and the command that installs them."""

from importlib import metadata

from packaging.requirements import Requirement

DISTRIBUTION = "tidyvoice"
NOT_INSTALLED = "not installed"


def installed_version(name: str) -> str:
    """Return the version of a package, or ``not installed``."""
    try:
        # An interrupted upgrade leaves a folder without a version behind.
        return metadata.version(name) or NOT_INSTALLED
    except metadata.PackageNotFoundError:
        return NOT_INSTALLED


def requirements() -> list[Requirement]:
    """Return what this package requires without extras; nothing if it is not installed."""
    try:
        required = map(Requirement, metadata.requires(DISTRIBUTION) or [])
    except metadata.PackageNotFoundError:
        return []
    return [r for r in required if r.marker is None or r.marker.evaluate({"extra": ""})]


def install_command(extra: str = "") -> str:
    """Return the command that installs the locked versions, to be run in the repository."""
    target = f"'.[{extra}]'" if extra else "."
    return f"pip install -e {target} -c constraints.txt"
