import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from conftest import prepared
from typer.testing import CliRunner

from tidyvoice.cli import app
from tidyvoice.doctor import compute, examine
from tidyvoice.manifest import Manifest

EXPECTED = {
    "corpora": {"all": {"folders": ["train", "dev"], "speakers": 4, "utterances": 16}},
    "trials": {"trials": {"lines": 1}},
    "credentials": {"A_KEY": {"purpose": "nothing", "optional": True}},
}


def doctor(*arguments):
    return CliRunner().invoke(app, ["doctor", *map(str, arguments)])


@pytest.fixture
def good(tmp_path, experiment):
    """The arguments for two data folders, a config, a trial list and expected counts that agree."""
    manifest = Manifest.read(prepared(tmp_path, speakers=4, utterances=4))
    manifest.select(["id000000", "id000001", "id000002"]).write(tmp_path / "train")
    manifest.select(["id000003"]).write(tmp_path / "dev")
    experiment["data"] |= {"train": str(tmp_path / "train"), "noise": None, "rirs": None}
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(experiment))
    (tmp_path / "expected.yaml").write_text(yaml.safe_dump(EXPECTED))
    (tmp_path / "trials").write_text("1 id000003/en/en_0.wav id000003/fr/fr_1.wav\n")
    return [
        "--config", tmp_path / "x.yaml", "--data", tmp_path / "dev",
        "--expect", tmp_path / "expected.yaml", "--trials", tmp_path / "trials",
    ]  # fmt: skip


def test_a_sound_folder_ends_with_a_summary(good, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    result = doctor(*good)
    assert result.exit_code == 0, result.output
    *lines, summary = result.output.splitlines()
    groups = ["program", "settings", "device", "disk", "data", "expected", "credentials"]
    assert [line for line in lines if line and line[0].islower()] == groups
    ok = sum(line.startswith("OK  ") for line in lines)
    warn = sum(line.startswith("WARN") for line in lines)
    assert summary == f"{ok} OK (as expected), {warn} WARN (to be looked at), 0 FAIL (to mend)"
    assert "OK    all: 16 utterances (expected 16)" in lines
    assert sorted(tmp_path.rglob("*")) == before


def test_a_broken_folder_fails_and_names_each_line(good, tmp_path):
    corpus = tmp_path / "corpus"
    (corpus / "id000000/en/en_0.wav").unlink()
    soundfile.write(corpus / "id000001/fr/fr_1.wav", np.zeros(8000), 8000)
    Manifest.read(tmp_path / "data").select(["id000002", "id000003"]).write(tmp_path / "dev")
    (tmp_path / "trials").write_text("1 nobody/en/a.wav id000003/fr/fr_1.wav\n" * 2)
    result = doctor(*good, "--set", "experiment=" + str(tmp_path / "trials" / "exp"))
    assert result.exit_code == 1
    for expected in (
        f"FAIL  {tmp_path}/train: {corpus}/id000000/en/en_0.wav is missing",
        f"FAIL  {tmp_path}/train: {corpus}/id000001/fr/fr_1.wav has 8000 Hz, expected 16000",
        f"FAIL  speakers of {tmp_path}/dev and {tmp_path}/train: 1 in both (id000002)",
        f"FAIL  {tmp_path}/trials/exp: {tmp_path}/trials cannot be written in",
        f"FAIL  {tmp_path}/trials: 2 trials (expected 1)",
        f"FAIL  {tmp_path}/trials: 1 of 2 utterances in no data folder, such as nobody/en/a.wav",
        f"WARN  {tmp_path}/trials: {tmp_path}/trials:2: the trial 'nobody/en/a.wav id000003/",
        "FAIL  all: 20 utterances (expected 16)",
    ):
        assert expected in result.output
    assert result.output.count("FAIL  ") == 7
    assert result.output.splitlines()[-1].endswith("7 FAIL (to mend)")


def test_json_holds_the_same(good):
    result = doctor(*good, "--json")
    assert result.exit_code == 0
    found = json.loads(result.output)
    assert found["summary"]["FAIL"] == 0
    assert len(found["findings"]) == sum(found["summary"].values())
    row = next(row for row in found["findings"] if row["measured"] == "16 utterances")
    assert row == {
        "group": "expected", "status": "OK", "subject": "all", "measured": "16 utterances",
        "expected": "16", "mend": "",
    }  # fmt: skip


def test_a_wrong_key_of_a_config_is_one_finding_of_expected_counts_an_error(good, tmp_path):
    result = doctor(*good, "--set", "data.batchsize=3")
    assert result.exit_code == 1
    assert "did you mean data.batch_size?: correct the file or --set" in result.output
    assert "the tables agree" in result.output
    (tmp_path / "expected.yaml").write_text("trial: {}\n")
    result = doctor(*good)
    assert result.exit_code == 1
    (line,) = result.output.splitlines()
    assert line == f"error: {tmp_path}/expected.yaml: unknown key trial: did you mean trials?"


def test_a_folder_counts_once_however_it_is_spelt(good, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = examine(data=[Path("train"), tmp_path / "dev/../train"], configs=[tmp_path / "x.yaml"])
    assert [f.subject for f in found["data"] if "tables agree" in f.measured] == ["train"]
    assert any("; 9 classes" in finding.measured for finding in found["device"])


def test_the_published_training_is_looked_at_before_there_is_data(tmp_path, monkeypatch):
    (tmp_path / "conf").symlink_to(Path(__file__).parents[2] / "conf")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compute, "free_memory", lambda device: 80 * 10**9)
    monkeypatch.delenv("MDC_API_KEY", raising=False)
    command = "--config conf/tidyvoice/finetune.yaml --expect conf/tidyvoice/expected.yaml"
    result = doctor(*command.split())
    assert result.exit_code == 0, result.output
    assert re.search(r"activations \d+\.\d GB for 48 x 600 frames", result.output)
    assert "WARN  data/tidyvoice/finetune: not there yet: run stage 1" in result.output
    assert "WARN  MDC_API_KEY: not set (expected set, for downloading TidyVoiceX)" in result.output
    assert "checkpoints of exp/tidyvoice/finetune 1." in result.output


def test_before_the_data_is_there_it_only_warns(good, tmp_path):
    (tmp_path / "train/wav.scp").unlink()
    result = doctor("--config", tmp_path / "x.yaml")
    assert result.exit_code == 0, result.output
    assert f"WARN  {tmp_path}/train: not there yet: run stage 1" in result.output
    result = doctor("--data", tmp_path / "train")
    assert result.exit_code == 1
    assert f"{tmp_path}/train/wav.scp is missing" in result.output
