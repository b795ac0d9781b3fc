"""`tidyvoice doctor`: what it prints, and its exit status."""

import json
import re
import shutil
from collections import namedtuple
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from conftest import invoke, prepared, succeed

from tidyvoice.config import ModelSettings
from tidyvoice.data.manifest import Manifest
from tidyvoice.data.packing import write_shards
from tidyvoice.frontend import FrontendSettings
from tidyvoice.modelhub.folder import save_model_config
from tidyvoice.models import build_model

EXPECTED = {
    "corpora": {"all": {"folders": ["train", "dev"], "speakers": 4, "utterances": 16}},
    "trials": {"trials": {"lines": 1}},
}


@pytest.fixture
def good(tmp_path, experiment, monkeypatch):
    """The current folder, whose data, config, trial list and expected counts agree."""
    monkeypatch.chdir(tmp_path)
    manifest = Manifest.read(prepared(Path(), speakers=4, utterances=4))
    manifest.select(["id000000", "id000001", "id000002"]).write("train")
    manifest.select(["id000003"]).write("dev")
    experiment |= {"experiment": "exp", "epoch_iterations": None}
    experiment["data"] |= {"train": "train", "min_seconds": 0.5}
    Path("x.yaml").write_text(yaml.safe_dump(experiment))
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


ALL = (
    "doctor", "--config", "x.yaml", "--data", "dev", "--trials", "trials", "--expect",
    "expected.yaml",
)  # fmt: skip


def test_sound_data_and_settings_pass_and_nothing_is_written(good):
    before = sorted(good.rglob("*"))
    *lines, summary = succeed(*ALL).splitlines()
    topics = ["programs", "device", "data", "counts", "training", "disk"]
    assert [line for line in lines if line in topics] == topics
    assert summary == f"{sum(line.startswith('OK  ') for line in lines)} OK, 0 WARN, 0 FAIL"
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
    report = json.loads(succeed(*ALL, "--json"))
    lines = [f"{f['status']:<4}  {f['where']}: {f['message']}" for f in report["findings"]]
    changing = [line for line in lines if "on this CPU" in line or "free" in line]
    assert set(lines) <= {*succeed(*ALL).splitlines(), *changing}
    assert report["summary"] == {"OK": len(lines), "WARN": 0, "FAIL": 0}
    assert {"group", "fix"} < set(report["findings"][0])


def test_every_unfit_file_is_named(good):
    corpus = Path("corpus")
    (corpus / "id000000/en/en_0.wav").unlink()
    soundfile.write(corpus / "id000001/fr/fr_1.wav", np.zeros(8000), 8000)
    (corpus / "id000001/en/en_0.wav").write_bytes(b"")
    (corpus / "id000002/en/en_0.wav").write_bytes(b"no audio")
    whole = (corpus / "id000002/fr/fr_1.wav").read_bytes()
    (corpus / "id000002/fr/fr_1.wav").write_bytes(whole[:-100])
    output = fail("--data", "train")
    for problem in (
        "id000000/en/en_0.wav is missing",
        "id000001/fr/fr_1.wav has 8000 Hz, expected 16000: resample it",
        "id000001/en/en_0.wav is an empty file",
        "id000002/en/en_0.wav cannot be read as audio",
        "id000002/fr/fr_1.wav is cut short by 100",
    ):
        assert f"FAIL  train: corpus/{problem}" in output
    assert output.splitlines()[-1].endswith("0 WARN, 5 FAIL")


def test_other_lengths_and_channels_are_reported(good):
    first, second = "corpus/id000000/en/en_0.wav", "corpus/id000000/en/en_2.wav"
    samples = soundfile.read(first)[0]
    soundfile.write(first, np.stack([samples, samples], axis=1), 16000)
    result = succeed("doctor", "--data", "train")
    assert f"WARN  train: files have several channels, such as {first}. Only the first" in result
    shutil.copy(first, second)
    assert f"FAIL  train: {second} lasts 0.500 s, utt2dur says 0.700 s. Restore" in fail(
        "--data", "train"
    )


def test_tables_that_are_missing_or_disagree_fail(good):
    with open("train/spk2utt", "a") as file:
        file.writelines(f"stranger{number:02d} x\n" for number in range(13))
    output = fail("--data", "train")
    assert "FAIL  train: speaker stranger09 is in only one of utt2spk and spk2utt" in output
    assert "stranger10" not in output
    assert "3 more such problems" in output
    for name in ("spk2utt", "utt2spk", "wav.scp"):
        Path("train", name).unlink()
        assert f"FAIL  train: train/{name} is missing" in fail("--data", "train")
    assert "FAIL  nowhere: nowhere is missing: run stage 1" in fail("--data", "nowhere")


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
    assert "OK    ffmpeg: not installed, not needed by this data" in succeed(
        "doctor", "--data", "dev"
    )
    output = fail("--data", "videos")
    assert "FAIL  ffmpeg: not installed, needed to decode .m4a. Install ffmpeg." in output
    assert "WARN  videos: the durations are not known" in output
    program(tmp_path / "bin", "ffmpeg")
    assert f"OK    ffmpeg: {tmp_path}/bin/ffmpeg, needed" in succeed("doctor", "--data", "videos")


def test_a_speaker_of_two_folders_fails_however_they_are_spelt(good):
    Manifest.read("data").select(["id000002", "id000003"]).write("dev")
    output = fail("--config", "x.yaml", "--data", "dev", "--data", good / "train")
    assert "FAIL  dev and train: they share 1 speakers, such as id000002. Leave" in output
    assert f"FAIL  dev and {good}/train: they share" in output
    assert output.count("they share") == 2  # not train with itself


def test_counts_that_differ_fail(good):
    corpora = EXPECTED["corpora"] | {
        "more": {"folders": ["train"], "hours": {"about": 0.00217, "within": 0.01}, "languages": 1},
        "less": {"folders": ["dev"], "utterances": {"about": 6, "within": 0.3}},
        "elsewhere": {"folders": ["eval"], "speakers": 9},
    }
    expected = {"corpora": corpora, "trials": {"trials": {"lines": 2}}}
    Path("expected.yaml").write_text(yaml.safe_dump(expected))
    Path("trials").write_text("1 nobody/a.wav id000003/fr/fr_1\n")
    output = fail(*ALL[1:])
    assert "OK    more: 0.00 hours, expected 0.00217 ± 1%" in output
    assert "FAIL  more: 2 languages, expected 1. Look for files of another corpus; run.sh" in output
    assert "FAIL  less: 4 utterances, expected 6 ± 30%. Look for files that were not" in output
    assert "FAIL  trials: 1 trials, expected 2. Download the list again." in output
    assert "FAIL  trials: 1 utterances are in no data folder, such as nobody/a.wav. Give" in output
    assert "elsewhere" not in output
    output = fail("--data", "dev", *ALL[5:])
    assert "WARN  all: cannot be counted without train. Give all its folders" in output
    # A folder that is nowhere, as that of calibration where nobody is held out, is not missed.
    shutil.move("train", "elsewhere")
    output = fail("--data", "dev", *ALL[5:])
    assert "cannot be counted" not in output
    assert "FAIL  all: 4 utterances, expected 16. Look for files that were not unpacked" in output
    shutil.move("elsewhere", "train")
    Path("expected.yaml").write_text("trial: {}\n")
    assert fail(*ALL[1:]) == "error: expected.yaml: unknown key trial: did you mean trials?\n"


def test_the_schedule_is_reported(good):
    output = succeed("doctor", "--config", "x.yaml", "--set", "gradient_accumulation=2")
    assert "OK    x.yaml: 3 steps of 10 chunks, 2.5 passes over 12 utterances" in output
    output = succeed("doctor", "--config", "x.yaml", "--set", "data.min_seconds=0.6")
    assert "OK    x.yaml: 3 steps of 5 chunks, 1.67 passes over 9 utterances" in output
    output = fail("--config", "x.yaml", "--set", "gradient_accumulation=3")
    assert "FAIL  x.yaml: 12 utterances are long enough, fewer than the 15 of a step" in output
    assert "did you mean data.batch_size?" in fail(
        "--config", "x.yaml", "--set", "data.batchsize=3"
    )
    output = fail("--config", "x.yaml", "--set", "data.train=absent")
    assert "FAIL  absent: absent is missing: run stage 1" in output


def test_the_initial_model_must_fit(good):
    def start(path):
        return invoke("doctor", "--config", "x.yaml", "--set", f"model.init={path}").output

    assert "WARN  x.yaml model.init: no folder exp/a/models: give one" in start("exp/a/models")
    for planes, message in (
        (2, "OK    x.yaml model.init: 2.pt fits"),
        (4, "FAIL  x.yaml model.init: "),
    ):
        torch.save(
            build_model("SimAM_ResNet34_ASP", in_planes=planes, embed_dim=16).state_dict(),
            f"{planes}.pt",
        )
        assert message in start(f"{planes}.pt")
    network = ModelSettings(args={"in_planes": 4, "embed_dim": 8})
    save_model_config("four", network, FrontendSettings(), [])
    shutil.move("4.pt", "four/avg_model.pt")
    message = (
        "FAIL  x.yaml model.init: four/config.yaml: another network (model.args.embed_dim 8, "
        "here 16; model.args.in_planes 4, here 2): set model.args.embed_dim=8 "
        "model.args.in_planes=4 or give another model"
    )
    assert message in start("four")


def test_a_long_training_on_the_cpu_needs_consent(no_gpu):
    conf = Path(__file__).parent.parent / "conf/tidyvoice/pretrain.yaml"
    line = ("--config", conf, "--set", "model.args.in_planes=8")
    message = (
        r"torch finds no GPU, and training on this CPU takes about [\d,]+ days, .*\. Run it on .*"
    )
    pattern = rf"^FAIL  {conf}: {message} device: cpu \(--set device=cpu\)\.$"
    assert re.search(pattern, fail(*line), re.MULTILINE)
    output = fail(*line, "--set", "device=cpu")  # of its data, which is not here
    assert re.search(r"^WARN  .* takes about [\d,]+ days, .*; device: cpu allows it$", output, re.M)
    output = fail(*line, "--set=epochs=1", "--set=average=1", "--set=epoch_iterations=1")
    assert re.search(r"^OK    .*: training on this CPU takes about \d+ (sec|min)", output, re.M)


def test_a_device_that_is_not_there_fails(good, no_gpu):
    output = fail("--config", "x.yaml", "--set", "device=cuda")
    assert "FAIL  x.yaml device: device cuda is not available here" in output
    assert "on this CPU" not in output


def test_a_gpu_is_described_and_the_cpu_not_timed(good, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: "Some GPU")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda number: (8 * 10**9, 10**10))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    output = succeed(
        "doctor", "--config", "x.yaml", "--set", "device=auto", "--set", "epochs=9999999"
    )
    assert "OK    GPU 0: Some GPU, 8 GB of 10 GB free, CUDA " in output
    assert "no bfloat16" in output
    assert "on this CPU" not in output


def test_a_gpu_that_torch_cannot_use_is_a_warning(no_gpu, tmp_path, monkeypatch):
    program(tmp_path, "nvidia-smi", "#!/bin/sh\necho 'Some GPU, 525.60'\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    pattern = (
        r"WARN  GPU: nvidia-smi lists Some GPU, 525.60, but torch .* \(built for .*Update the dr"
    )
    assert re.search(pattern, succeed("doctor"))


def test_old_and_missing_packages_are_named(monkeypatch):
    real, versions = metadata.version, {"torch": "2.8.0", "polars": ""}
    monkeypatch.setattr(metadata, "version", lambda name: versions.get(name, real(name)))
    output = fail()
    assert re.search(
        r"FAIL  torch: 2\.8\.0, pyproject.toml asks for .*>=2.*Run .*: pip install -e \.", output
    )
    assert "FAIL  polars: not installed, pyproject.toml asks for " in output


def test_too_small_a_disk_fails(good, monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(200_000))
    output = fail("--config", "x.yaml", "--data", "dev")
    assert re.search(
        r"FAIL  disk of .*: 200 kB free, about .*checkpoints of exp .*Free some space", output
    )
    assert "embeddings of dev 4.42 kB" in output  # 4 vectors of 256 numbers, ids of 20 letters
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9))
    succeed("doctor", "--config", "x.yaml", "--data", "dev")
    output = fail("--data", "dev", "--exp", "trials/exp")
    assert (
        f"FAIL  trials/exp: {good}/trials is not a writable folder. Give another folder." in output
    )


def bytes_of(pattern, output):
    number, unit = re.search(pattern + r" ([\d.]+) (bytes|kB|MB)", output).groups()
    return float(number) * {"bytes": 1, "kB": 10**3, "MB": 10**6}[unit]


def test_the_sizes_are_those_of_what_is_written(good):
    options = ["optimizer.name=AdamW", "model.ema_decay=0.9", "model.args.in_planes=8", "epochs=1"]
    line = ["doctor", "--config", "x.yaml", *(f"--set={option}" for option in options)]
    output = succeed(*line)
    write_shards("train")
    shards = sum(path.stat().st_size for path in Path("train").rglob("*.tar"))
    # A tar file is filled up to 10,240 bytes.
    assert shards - 10240 < bytes_of("shards of train", output) < 1.1 * shards
    succeed("train", "x.yaml", *options)
    checkpoint = Path("exp/models/model_0001.pt").stat().st_size
    # Names, settings and random states come on top.
    assert checkpoint - 400_000 < bytes_of("up to about", output) < 1.2 * checkpoint
    after = succeed(*line)
    assert "shards of train" not in after
    assert bytes_of("checkpoints of exp", after) < bytes_of("checkpoints of exp", output)
