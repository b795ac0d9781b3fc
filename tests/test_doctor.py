"""`tidyvoice doctor`: its output and its exit status."""

import json
import re
import shutil
from collections import namedtuple
from importlib import metadata
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
import yaml
from conftest import invoke, prepared, succeed

from tidyvoice.data.manifest import Manifest
from tidyvoice.data.packing import write_shards


@pytest.fixture
def good(tmp_path, monkeypatch):
    """The current folder, whose data, trial list and expected counts agree."""
    monkeypatch.chdir(tmp_path)
    manifest = Manifest.read(prepared(Path(), speakers=4, utterances=4))
    manifest.select(["id000000", "id000001", "id000002"]).write("train")
    manifest.select(["id000003"]).write("dev")
    expect({"all": {"folders": ["train", "dev"], "speakers": 4, "utterances": 16}}, 1)
    Path("trials").write_text("1 id000003/en/en_0.wav id000003/fr/fr_1.wav\n")
    return tmp_path


def expect(corpora, trials):
    Path("expected.yaml").write_text(
        yaml.safe_dump({"corpora": corpora, "trials": {"trials": trials}})
    )


def fail(*arguments):
    """Run the doctor, which must fail, and return its output."""
    result = invoke("doctor", *arguments)
    assert result.exit_code == 1, result.output
    return result.output


def program(folder, name):
    (folder / name).write_text("#!/bin/sh\n")
    (folder / name).chmod(0o755)


ALL = ("--train", "train", "--data", "dev", "--trials", "trials", "--expect", "expected.yaml")


def test_sound_data_pass_and_nothing_is_written(good):
    before = sorted(good.rglob("*"))
    *lines, summary = succeed("doctor", *ALL, "--exp", "exp").splitlines()
    assert sorted(good.rglob("*")) == before
    topics = ["programs", "device", "data", "counts", "disk"]
    assert [line for line in lines if line in topics] == topics
    assert summary.endswith(" 0 FAIL")
    assert any(f" torch {metadata.version('torch')}" in line for line in lines)
    for message in (
        "all: 16 utterances, expected 16",
        "train: 12 utterances, 3 speakers, 2 languages",
        "train: 0.00 h, of 0.5 to 0.8 s",
        "train: headers of 12 files were read",
    ):
        assert f"OK    {message}" in lines
    report = json.loads(succeed("doctor", *ALL, "--json"))
    assert {"group", "status", "where", "message", "fix"} == set(report["findings"][0])
    assert report["summary"]["FAIL"] == 0


def test_every_problem_of_a_folder_is_named(good):
    Path("corpus/id000000/en/en_0.wav").unlink()
    with open("train/spk2utt", "a") as file:
        file.writelines(f"stranger{number:02d} x\n" for number in range(10))
    output = fail("--data", "train")
    assert "FAIL  train: speaker stranger07 has other utterances in utt2spk" in output
    assert "1 more such problems" in output
    Path("train/utt2spk").unlink()
    assert "FAIL  train: train/utt2spk is missing" in fail("--data", "train")


def test_files_that_only_ffmpeg_reads_need_it(good, monkeypatch):
    Path("a.m4a").write_bytes(b"not read")
    Manifest.build(["a"], ["a.m4a"], ["s"]).write("videos")
    monkeypatch.setenv("PATH", str(good))
    assert "OK    ffmpeg: not installed, not needed" in succeed("doctor", "--data", "dev")
    output = fail("--data", "videos")
    assert "FAIL  ffmpeg: not installed, needed to decode .m4a" in output
    assert "WARN  videos: the durations are not known" in output
    program(good, "ffmpeg")
    assert f"OK    ffmpeg: {good}/ffmpeg, needed" in succeed("doctor", "--data", "videos")


def test_a_speaker_of_two_folders_fails_however_they_are_spelt(good):
    Manifest.read("data").select(["id000002", "id000003"]).write("dev")
    output = fail("--train", "train", "--data", "dev", "--data", good / "train")
    assert "FAIL  train and dev: they share 1 speakers, such as id000002" in output
    assert output.count("they share") == 2  # not train with itself


def test_counts_that_differ_fail(good):
    corpora = {
        "more": {"folders": ["train"], "hours": [0.00215, 0.0022], "languages": 1},
        "less": {"folders": ["dev"], "utterances": [5, 7]},
        "elsewhere": {"folders": ["eval"], "speakers": 9},
    }
    expect(corpora, 2)
    output = fail(*ALL)
    assert "OK    more: 0.00 hours, expected 0.00215 to 0.0022" in output
    assert "FAIL  more: 2 languages, expected 1" in output
    assert "FAIL  less: 4 utterances, expected 5 to 7. Give dev with" in output
    assert "FAIL  trials: 1 trials, expected 2" in output
    assert "elsewhere" not in output
    shutil.copytree("dev", "other/dev")
    assert "other/dev: several folders of one name" in fail(*ALL, "--data", "other/dev")
    Path("expected.yaml").write_text("trial: {}\n")
    assert fail(*ALL).startswith("error: expected.yaml: unknown key trial")


def test_a_missing_or_unusable_gpu_is_a_warning(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert "WARN  GPU: none" in succeed("doctor")
    program(tmp_path, "nvidia-smi")
    assert re.search(r"WARN  GPU: torch .* \(built for .*\) can use none", succeed("doctor"))


def test_old_and_missing_packages_are_named(monkeypatch):
    real, versions = metadata.version, {"torch": "2.8.0", "polars": ""}
    monkeypatch.setattr(metadata, "version", lambda name: versions.get(name, real(name)))
    output = fail()
    assert re.search(r"FAIL  torch: 2\.8\.0, pyproject.toml asks for .*>=2.*pip install", output)
    assert "FAIL  polars: not installed, pyproject.toml asks for " in output
    monkeypatch.setattr(metadata, "requires", Mock(side_effect=metadata.PackageNotFoundError))
    assert "OK    packages: python" in succeed("doctor")


def test_too_small_a_disk_fails(good, monkeypatch):
    def size(what, output):
        number, unit = re.search(rf"{what} ([\d.]+)(k?)B", output).groups()
        return float(number) * {"": 1, "k": 1000}[unit]

    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(200_000))
    output = fail("--train", "train", "--data", "dev", "--exp", "exp")
    assert re.search(r"FAIL  disk of .*: 200kB free, about .*shards of train", output)
    # 4 vectors of 256 numbers, ids of 20 letters
    assert size(r"embeddings \(256 numbers each\) of dev", output) == pytest.approx(
        4 * 4 * (256 + 20), rel=0.01
    )
    write_shards("train")
    shards = sum(path.stat().st_size for path in Path("train").rglob("*.tar"))
    # A tar file is filled up to 10,240 bytes.
    assert shards - 10240 < size("shards of train", output) < 1.1 * shards
    assert size("shards of train", succeed("doctor", "--train", "train")) == 0
