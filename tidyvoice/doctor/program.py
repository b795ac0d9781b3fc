"""Checks of the program: versions, extras, ffmpeg, cores, credentials."""

import importlib
import os
import platform
import shutil
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tidyvoice.doctor.expected import Credential
from tidyvoice.doctor.findings import Finding, judge
from tidyvoice.headers import has_header
from tidyvoice.manifest import Manifest
from tidyvoice.packages import NOT_INSTALLED, install_command, installed_version
from tidyvoice.readahead import usable_cores

DISTRIBUTION = "tidyvoice"
# Their shared libraries may be missing or not match: only importing them shows that.
LOADED = ("torch", "torchaudio", "soundfile")


def versions() -> list[Finding]:
    """Python and every package against what pyproject.toml asks for; extras as they are."""
    try:
        about = metadata.metadata(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        fix = f"{install_command()} in the repository"
        return [Finding("FAIL", DISTRIBUTION, NOT_INSTALLED, "an installation", fix)]
    wanted = about["Requires-Python"]
    here = platform.python_version()
    good = SpecifierSet(wanted).contains(here, prereleases=True)
    found = [judge(good, "python", here, wanted, "make the environment with a newer Python")]
    requirements = [Requirement(text) for text in metadata.requires(DISTRIBUTION) or []]
    core = [r for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""})]
    found += [_version(requirement) for requirement in core]
    for extra in about.get_all("Provides-Extra") or []:
        more = [r for r in requirements if r not in core and r.marker.evaluate({"extra": extra})]
        # An extra may name another extra of this package, which has a line of its own.
        names = [r.name for r in more if r.name != DISTRIBUTION and not _installed(r)]
        state = f"not installed ({', '.join(names)})" if names else "installed"
        found.append(Finding("OK", f"extra {extra}", state))
    return found


def _installed(requirement: Requirement) -> bool:
    return _version(requirement).status == "OK"


def _version(requirement: Requirement) -> Finding:
    name, wanted = requirement.name, str(requirement.specifier)
    version, fix = installed_version(name), f"{install_command()} in the repository"
    if version == NOT_INSTALLED:
        return Finding("FAIL", name, version, wanted, fix)
    try:
        if name in LOADED:
            importlib.import_module(name)
    except (ImportError, OSError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        return Finding("FAIL", name, f"{version}, cannot be loaded ({reason})", wanted, fix)
    good = requirement.specifier.contains(version, prereleases=True)
    return judge(good, name, version, wanted, fix)


def cores() -> list[Finding]:
    """How many cores this process may use."""
    return [Finding("OK", "cores", f"{usable_cores()} of {os.cpu_count()} usable")]


def ffmpeg(folders: Mapping[Path, Manifest]) -> list[Finding]:
    """ffmpeg, which only files that libsndfile cannot read need, such as VoxCeleb2's .m4a."""
    where = shutil.which("ffmpeg")
    state = where or "not on PATH"
    foreign = {folder: names for folder, m in folders.items() if (names := _foreign(m))}
    if not foreign:
        return [Finding("OK", "ffmpeg", f"{state}; no data folder needs it")]
    needed = [f"{', '.join(names)} files in {folder}" for folder, names in foreign.items()]
    mend = "install ffmpeg, which decodes them for the shards"
    return [judge(bool(where), "ffmpeg", state, f"for {'; '.join(needed)}", mend)]


def _foreign(manifest: Manifest) -> list[str]:
    """Endings in ``wav.scp`` of files that libsndfile does not read, sorted."""
    endings = manifest.table["path"].str.extract(r"(\.[^./]*)$").fill_null("").unique()
    return sorted(ending or "unnamed" for ending in endings if not has_header(f"x{ending}"))


def credentials(wanted: Mapping[str, Credential]) -> list[Finding]:
    """Whether environment variables are set; their values are neither shown nor looked at."""
    found = []
    for name, credential in wanted.items():
        state = "set" if os.environ.get(name) else "not set"
        good = state == "set" or credential.optional
        expected = f"{'optional' if credential.optional else 'set'}, for {credential.purpose}"
        mend = f"export {name}=... unless that is on the disk already"
        found.append(judge(good, name, state, expected, mend, "WARN"))
    return found
