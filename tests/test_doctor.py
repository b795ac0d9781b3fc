"""`tidyvoice doctor`: its output and its exit status."""

import json
import re
import shutil
from collections import namedtuple
from importlib import metadata
from pathlib import Path

import pytest
import torch
import yaml
from conftest import invoke, prepared, succeed

from tidyvoice.data.manifest import Manifest
from tidyvoice.data.packing import write_shards

EXPECTED = {
    "corpora": {"all": {"folders": ["train", "dev"], "speakers": 4, "utterances": 16}},
    "trials": {"trials": 1},
}


@pytest.fixture
def good(tmp_path, monkeypatch):
    """The current folder, whose data, trial list and expected counts agree."""
    monkeypatch.chdir(tmp_path)
    manifest = Manifest.read(prepared(Path(), speakers=4, utterances=4))
    manifest.select(["id000000", "id000001", "id000002"]).write("train")
    manifest.select(["id000003"]).write("dev")
    Path("expected.yaml").write_text(yaml.safe_dump(EXPECTED))
    Path("trials").write_text("1 id000003/en/en_0.wav id000003/fr/fr_1.wav\n")
    return tmp_path


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def fail(*arguments):
    """Run the doctor, which must fail, and return its output."""
    result = invoke("doctor", *arguments)
    assert result.exit_code == 1, result.output
    return result.output


def program(folder, name, text="#!/bin/sh\n"):
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


COUNTS = ("--trials", "trials", "--expect", "expected.yaml")
ALL = ("--train", "train", "--data", "dev", *COUNTS)


def test_sound_data_pass_and_nothing_is_written(good):
    before = sorted(good.rglob("*"))
    *lines, summary = succeed("doctor", *ALL, "--exp", "exp").splitlines()
    topics = ["programs", "device", "data", "counts", "disk"]
    assert [line for line in lines if line in topics] == topics
    counts = {status: sum(line.startswith(status) for line in lines) for status in ("OK", "WARN")}
    assert summary == f"{counts['OK']} OK, {counts['WARN']} WARN, 0 FAIL"
    assert re.search(
        rf"^OK    packages: python .* torch {metadata.version('torch')}", "\n".join(lines), re.M
    )
    assert "OK    all: 16 utterances, expected 16" in lines
    for message in (
        "12 utterances, 3 speakers, 2 languages",
        "0.00 h, of 0.5 to 0.8 s",
        "headers of 12 files were read",
    ):
        assert f"OK    train: {message}" in lines
    assert sorted(good.rglob("*")) == before


def test_json_holds_the_same(good):
    report = json.loads(succeed("doctor", *ALL, "--json"))
    text = succeed("doctor", *ALL)
    for finding in report["findings"]:
        assert {"group", "fix"} < set(finding)
        if "free" not in finding["message"]:
            assert f"{finding['where']}: {finding['message']}" in text
    assert sum(report["summary"].values()) == len(report["findings"])


def test_every_unfit_file_is_named(good):
    corpus = Path("corpus")
    (corpus / "id000000/en/en_0.wav").unlink()
    (corpus / "id000001/en/en_0.wav").write_bytes(b"")
    output = fail("--data", "train")
    assert "FAIL  train: corpus/id000000/en/en_0.wav is missing" in output
    assert "FAIL  train: corpus/id000001/en/en_0.wav is an empty file" in output
    assert output.splitlines()[-1].endswith("2 FAIL")


def test_tables_that_are_missing_or_disagree_fail(good):
    with open("train/spk2utt", "a") as file:
        file.writelines(f"stranger{number:02d} x\n" for number in range(13))
    output = fail("--data", "train")
    assert "FAIL  train: speaker stranger09 has other utterances in utt2spk" in output
    assert "stranger10" not in output
    assert "3 more such problems" in output
    Path("train/utt2spk").unlink()
    assert "FAIL  train: train/utt2spk is missing" in fail("--data", "train")
    assert "FAIL  nowhere: nowhere is missing" in fail("--data", "nowhere")


def test_a_divided_folder_is_read_as_one(good):
    for number, speaker in enumerate(("id000000", "id000001"), 1):
        Manifest.read("train").select([speaker]).write(Path(f"divided/part-{number:03d}-of-002"))
    assert "OK    divided: 8 utterances, 2 speakers" in succeed("doctor", "--data", "divided")
    shutil.rmtree("divided/part-001-of-002")
    assert "FAIL  divided: divided lacks part-001-of-002" in fail("--data", "divided")


def test_files_that_only_ffmpeg_reads_need_it(good, tmp_path, monkeypatch):
    Path("a.m4a").write_bytes(b"not read")
    Manifest.build(["a"], ["a.m4a"], ["s"]).write("videos")
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert "OK    ffmpeg: not installed, not needed" in succeed("doctor", "--data", "dev")
    output = fail("--data", "videos")
    assert "FAIL  ffmpeg: not installed, needed to decode .m4a" in output
    assert "WARN  videos: the durations are not known" in output
    program(tmp_path / "bin", "ffmpeg")
    assert f"OK    ffmpeg: {tmp_path}/bin/ffmpeg, needed" in succeed("doctor", "--data", "videos")


def test_counts_that_differ_fail(good):
    corpora = EXPECTED["corpora"] | {
        "more": {"folders": ["train"], "hours": [0.00215, 0.0022], "languages": 1},
        "less": {"folders": ["dev"], "utterances": [5, 7]},
        "elsewhere": {"folders": ["eval"], "speakers": 9},
    }
    expected = {"corpora": corpora, "trials": {"trials": 2}}
    Path("expected.yaml").write_text(yaml.safe_dump(expected))
    output = fail(*ALL)
    assert "OK    more: 0.00 hours, expected 0.00215 to 0.0022" in output
    assert "FAIL  more: 2 languages, expected 1" in output
    assert "FAIL  less: 4 utterances, expected 5 to 7" in output
    assert "FAIL  trials: 1 trials, expected 2" in output
    assert "elsewhere" not in output
    assert "WARN  all: cannot be counted without train" in fail("--data", "dev", *COUNTS)
    # A folder that does not exist, such as the one of held-out speakers, is not missing.
    shutil.move("train", "elsewhere")
    output = fail("--data", "dev", *COUNTS)
    assert "cannot be counted" not in output
    assert "FAIL  all: 4 utterances, expected 16" in output
    Path("expected.yaml").write_text("trial: {}\n")
    assert fail("--data", "dev", *COUNTS).startswith("error: expected.yaml: unknown key trial")


def test_gpus_are_described(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: "Some GPU")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda number: (8 * 10**9, 10**10))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    output = succeed("doctor")
    assert "OK    GPU 0: Some GPU, 8 GB of 10 GB free, CUDA " in output
    assert "no bfloat16" in output


def test_a_missing_or_unusable_gpu_is_a_warning(no_gpu, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "WARN  GPU: none" in succeed("doctor")
    program(tmp_path, "nvidia-smi")
    assert re.search(r"WARN  GPU: torch .* \(built for .*\) can use none", succeed("doctor"))


def test_old_and_missing_packages_are_named(monkeypatch):
    real, versions = metadata.version, {"torch": "2.8.0", "polars": ""}
    monkeypatch.setattr(metadata, "version", lambda name: versions.get(name, real(name)))
    output = fail()
    assert re.search(r"FAIL  torch: 2\.8\.0, pyproject.toml asks for .*>=2.*pip install", output)
    assert "FAIL  polars: not installed, pyproject.toml asks for " in output


def test_too_small_a_disk_fails(good, monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(200_000))
    output = fail("--train", "train", "--data", "dev", "--exp", "exp")
    assert re.search(r"FAIL  disk of .*: 200 kB free, about .*shards of train", output)
    assert "embeddings of dev 4.42 kB" in output  # 4 vectors of 256 numbers, ids of 20 letters
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9))
    assert f"FAIL  trials/exp: {good}/trials is not a writable folder" in fail(
        "--data", "dev", "--exp", "trials/exp"
    )


def test_the_size_is_that_of_the_shards(good):
    def size(output):
        number, unit = re.search(r"shards of train ([\d.]+) (bytes|kB)", output).groups()
        return float(number) * {"bytes": 1, "kB": 10**3}[unit]

    before = size(succeed("doctor", "--train", "train"))
    write_shards("train")
    shards = sum(path.stat().st_size for path in Path("train").rglob("*.tar"))
    # A tar file is filled up to 10,240 bytes.
    assert shards - 10240 < before < 1.1 * shards
    assert size(succeed("doctor", "--train", "train")) == 0
