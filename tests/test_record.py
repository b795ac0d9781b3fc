"""The record of a training, ``record.json``."""

import json
import os
import shutil
import subprocess
import sys
import time
from importlib import metadata

import pytest
import torch
from conftest import require
from packaging.requirements import Requirement

from tidyvoice import record
from tidyvoice.errors import TidyVoiceError
from tidyvoice.record import Git, read_record, record_run, shell_line

INPUTS = {"data": "ab" * 32, "noise": "cd" * 32}


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Create a repository that seems to contain the package; return a function that calls git."""
    require(shutil.which("git") is not None, "no git")
    package = tmp_path / "source" / "tidyvoice"
    package.mkdir(parents=True)
    (package / "record.py").write_text("# one\n")
    (tmp_path / "source" / ".gitignore").write_text("*.pyc\n")
    monkeypatch.setattr(record, "__file__", str(package / "record.py"))

    def git(*arguments):
        who = ["-c", "user.name=n", "-c", "user.email=e@x"]
        command = ["git", "-C", str(tmp_path / "source"), *who, *arguments]
        run = subprocess.run(command, check=True, capture_output=True, text=True)
        return run.stdout.strip()

    git("init", "-q", "-b", "work")
    git("add", ".")
    git("commit", "-qm", "first")
    return git


def test_a_run_is_recorded_without_secrets_and_folders(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/home/me/bin/tidyvoice", "train", "a b.yaml", "seed=3"])
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("HF_TOKEN", "do-not-write-me")
    assert record_run(tmp_path / "exp", INPUTS, seed=3, steps=100) == []
    text = (tmp_path / "exp" / "record.json").read_text()
    assert "do-not-write-me" not in text
    assert "/home/me" not in text
    (run,) = read_record(tmp_path / "exp")
    assert run.command == "tidyvoice train 'a b.yaml' seed=3"
    assert (run.seed, run.steps, run.world_size, run.inputs) == (3, 100, 4, INPUTS)
    assert abs(run.when.timestamp() - time.time()) < 60
    assert run.machine.cores >= 1
    assert run.machine.cpu
    assert len(run.machine.gpus) == torch.cuda.device_count()
    assert run.machine.cuda == torch.version.cuda
    assert list((tmp_path / "exp").iterdir()) == [tmp_path / "exp" / "record.json"]


def test_required_packages_are_recorded_without_extras():
    versions = record.package_versions()
    required = [Requirement(text) for text in metadata.requires("tidyvoice")]
    core = {r.name for r in required if "extra" not in str(r.marker)}
    assert {"torch", "polars", "scipy"} <= core
    assert set(versions) == core | {"python", "tidyvoice"}
    assert versions["torch"] == metadata.version("torch")


def test_versions_are_recorded_without_an_installed_package(monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", absent)
    assert set(record.package_versions()) == {"python", "tidyvoice", "torch", "torchaudio", "numpy"}
    monkeypatch.setattr(metadata, "version", absent)
    assert record.package_versions()["torch"] == "not installed"


def test_a_resumed_training_adds_a_run_and_reports_differences(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tidyvoice", "train", "x.yaml"])
    git = Git(commit="a" * 40, changed=0)
    monkeypatch.setattr(record, "source_state", lambda: git)
    monkeypatch.setattr(record, "package_versions", lambda: {"torch": "2.9.0", "numpy": "2.0"})
    assert record_run(tmp_path, INPUTS, 1, 10) == []
    (first,) = read_record(tmp_path)
    assert record_run(tmp_path, INPUTS, 1, 10) == []
    monkeypatch.setattr(sys, "argv", ["tidyvoice", "train", "x.yaml", "device=cpu"])
    changed = git.model_copy(update={"commit": "b" * 40, "changed": 2})
    monkeypatch.setattr(record, "source_state", lambda: changed)
    monkeypatch.setattr(record, "package_versions", lambda: {"torch": "2.10.0", "numpy": "2.0"})
    assert record_run(tmp_path, INPUTS, 1, 10) == [
        "command was tidyvoice train x.yaml, is tidyvoice train x.yaml device=cpu",
        "git.changed was 0, is 2",
        f"git.commit was {'a' * 40}, is {'b' * 40}",
        "versions.torch was 2.9.0, is 2.10.0",
    ]
    runs = read_record(tmp_path)
    assert len(runs) == 3
    assert runs[0] == first
    assert str(runs[2].git) == "bbbbbbbb+"


def test_a_command_is_a_shell_line():
    assert shell_line(["/a/tidyvoice", "train", "a=b c"]) == "tidyvoice train 'a=b c'"
    assert shell_line(["/a/tidyvoice/__main__.py", "train"]) == "python -m tidyvoice train"


def test_the_state_of_the_source_tree(repository, tmp_path):
    commit = repository("rev-parse", "HEAD")
    assert record.source_state() == Git(commit=commit, changed=0)
    source = tmp_path / "source"
    (source / "notes").write_text("no part of the package")
    (source / "tidyvoice" / "x.pyc").write_text("ignored")
    assert record.source_state().changed == 0
    (source / "tidyvoice" / "new.py").write_text("")
    (source / "tidyvoice" / "record.py").write_text("# two\n")
    assert record.source_state().changed == 2
    assert str(record.source_state()) == f"{commit[:8]}+"
    repository("rm", "-q", "--cached", "tidyvoice/record.py")  # untracked, as in a user's project
    assert record.source_state() is None
    shutil.rmtree(source / ".git")
    assert record.source_state() is None


def test_the_state_is_unknown_without_git_or_if_git_hangs(repository, tmp_path, monkeypatch):
    assert record.source_state() is not None
    monkeypatch.setattr(record, "GIT_SECONDS", 0.2)
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "git").write_text("#!/bin/sh\nsleep 20\n")
    (bin_folder / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_folder}{os.pathsep}{os.environ['PATH']}")
    began = time.monotonic()
    assert record.source_state() is None
    assert time.monotonic() - began < 10
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert record.source_state() is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "record.json: cannot be read"),
        ("[]", "record.json"),
        ('{"runs": []}', "record.json: runs"),
        ('{"runs": [{"seed": "x"}]}', "runs.0.seed"),
        ('{"what": 1}', "the key runs is missing"),
    ],
)
def test_a_damaged_record_is_an_error_and_is_kept(tmp_path, text, message):
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(TidyVoiceError, match=message) as error:
        record_run(tmp_path, INPUTS, 1, 10)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert path.read_text() == text


def test_keys_of_later_versions_are_ignored(tmp_path):
    record_run(tmp_path, INPUTS, 1, 10)
    path = tmp_path / "record.json"
    content = json.loads(path.read_text())
    content["runs"][0]["machine"]["memory"] = 1
    path.write_text(json.dumps(content))
    assert len(read_record(tmp_path)) == 1
