"""constraints.txt has a pin for every package of pyproject.toml, and all texts install with it."""

import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest installs it

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
PYTHONS = [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if ":: Python :: " in c]
PLATFORMS = [("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64")]


def needed(lines, environment):
    """The requirements among these lines that an environment needs."""
    parsed = [Requirement(line) for line in lines if not line.startswith("#")]
    return [r for r in parsed if r.marker is None or r.marker.evaluate(environment)]


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(("system", "machine"), PLATFORMS)
def test_every_requirement_has_one_pin_in_its_range(python, system, machine):
    environment = {"python_version": python, "python_full_version": f"{python}.9"}
    environment |= {"sys_platform": system, "platform_machine": machine}
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = {}
    for pin in needed(lines, environment):
        ((name, version),) = ((pin.name, s.version) for s in pin.specifier if s.operator == "==")
        assert pins.setdefault(name, version) == version
    listed = [*PROJECT["dependencies"], *(line for extra in EXTRAS.values() for line in extra)]
    for requirement in needed(listed, environment):
        if requirement.name != PROJECT["name"]:
            name = requirement.name.lower().replace("_", "-")
            assert requirement.specifier.contains(pins[name]), requirement


def test_the_texts_install_the_pinned_versions():
    pages = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*/*.md")]
    lines = [line for page in pages for line in page.read_text().splitlines()]
    assert all(" -c constraints.txt" in line for line in lines if "pip install -e" in line)


def test_the_workflow_runs_the_oldest_and_the_newest_python():
    (job,) = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"].values()
    assert job["strategy"]["matrix"]["python"] == [PYTHONS[0], PYTHONS[-1]]
    assert PROJECT["requires-python"] == f">={PYTHONS[0]}"
