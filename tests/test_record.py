"""The record of a training, ``record.json``."""

import shutil
import subprocess
import sys
import time
from importlib import metadata

import torch
from conftest import require

from tidyvoice import record
from tidyvoice.record import Git, read_record, record_run

INPUTS = {"data": "ab" * 32, "noise": "cd" * 32}


def test_a_run_is_recorded_without_secrets_and_folders(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/home/me/bin/tidyvoice", "train", "a b.yaml", "seed=3"])
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("HF_TOKEN", "do-not-write-me")
    assert record_run(tmp_path, INPUTS, seed=3, steps=100) == []
    text = (tmp_path / "record.json").read_text()
    assert "do-not-write-me" not in text
    assert "/home/me" not in text
    (run,) = read_record(tmp_path)
    assert run.command == "tidyvoice train 'a b.yaml' seed=3"
    assert (run.seed, run.steps, run.world_size, run.inputs) == (3, 100, 4, INPUTS)
    assert abs(run.when.timestamp() - time.time()) < 60
    assert run.machine.cores >= 1
    assert run.machine.cpu
    assert len(run.machine.gpus) == torch.cuda.device_count()
    assert {"python", "tidyvoice", "polars", "scipy"} <= set(run.versions)
    assert "ruff" not in run.versions  # of an extra
    assert run.versions["torch"] == metadata.version("torch")


def test_a_resumed_training_adds_a_run_and_reports_differences(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tidyvoice", "train", "x.yaml"])
    git = Git(commit="a" * 40, changed=0)
    monkeypatch.setattr(record, "source_state", lambda: git)
    monkeypatch.setattr(record, "package_versions", lambda: {"torch": "2.9.0", "numpy": "2.0"})
    for _ in range(2):
        assert record_run(tmp_path, INPUTS, 1, 10) == []
    monkeypatch.setattr(sys, "argv", ["/a/tidyvoice/__main__.py", "train", "x.yaml", "seed=1"])
    changed = Git(commit="b" * 40, changed=2)
    monkeypatch.setattr(record, "source_state", lambda: changed)
    monkeypatch.setattr(record, "package_versions", lambda: {"torch": "2.10.0", "numpy": "2.0"})
    assert record_run(tmp_path, INPUTS, 1, 10) == [
        "command was tidyvoice train x.yaml, is tidyvoice train x.yaml seed=1",
        "git.changed was 0, is 2",
        f"git.commit was {'a' * 40}, is {'b' * 40}",
        "versions.torch was 2.9.0, is 2.10.0",
    ]
    assert [str(run.git) for run in read_record(tmp_path)] == ["aaaaaaaa", "aaaaaaaa", "bbbbbbbb+"]


def test_the_state_of_the_source_tree(tmp_path, monkeypatch):
    require(shutil.which("git") is not None, "no git")
    source, package = tmp_path / "source", tmp_path / "source/tidyvoice"
    package.mkdir(parents=True)
    (package / "record.py").write_text("# one\n")
    monkeypatch.setattr(record, "__file__", str(package / "record.py"))

    def git(*arguments):
        who = ["-c", "user.name=n", "-c", "user.email=e@x"]
        command = ["git", "-C", str(source), *who, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q", "-b", "work")
    git("add", ".")
    git("commit", "-qm", "first")
    (source / "notes").write_text("no part of the package")
    commit = git("rev-parse", "HEAD")
    assert record.source_state() == Git(commit=commit, changed=0)
    (package / "new.py").write_text("")
    (package / "record.py").write_text("# two\n")
    assert record.source_state() == Git(commit=commit, changed=2)

    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path / "nothing"))
        assert record.source_state() is None
    git("rm", "-q", "--cached", "tidyvoice/record.py")  # untracked, as in a user's project
    assert record.source_state() is None
