import json
import re
from pathlib import Path

import pytest
import typer
import yaml
from conftest import invoke, succeed

from tidyvoice.cli import app

TOP = typer.main.get_command(app).commands
COMMANDS = sorted({*TOP, "hub push"} - {"hub"})


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_it_does_with_an_example(command):
    assert re.search(rf"Example:\s+tidyvoice {command} ", succeed(*command.split(), "--help"))


def test_the_commands_lead_from_a_training_to_a_report(experiment, tiny, tmp_path):
    exp, config, trials = Path(experiment["experiment"]), tmp_path / "x.yaml", tmp_path / "trials"
    config.write_text(yaml.safe_dump(experiment))
    succeed("train", config, "seed=3", "epochs=2", "epoch_iterations=3")
    succeed("average", exp, "--last", 2)
    table, scores = exp / "embeddings" / "dev.npz", exp / "scores" / "dev.score"
    succeed("extract", "--model", exp / "models", "--data", tiny / "train", "--out", table)
    utterances = sorted((tiny / "corpus").glob("*/*/*.wav"))
    ids = [str(path.relative_to(tiny / "corpus")) for path in utterances]
    pairs = [(a, b) for i, a in enumerate(ids) for b in ids[i + 1 :]]
    trials.write_text("".join(f"{int(a[:8] == b[:8])} {a} {b}\n" for a, b in pairs))
    command = ("score", "--embeddings", table, "--trials", trials, "--mean", table, "--out", scores)
    succeed(*command, "--allow-overlap")
    found = json.loads(succeed("metrics", scores, "--json"))
    assert len(found["in_sample"]) == 2
    assert found["categories"][0]["targets"] == 36
    for category in ("all/all", "different/different", "different/same", "same/different"):
        assert category in succeed("metrics", scores)
    assert f"report: {exp / 'report.html'}" in succeed("report", exp)
    (row,) = json.loads(succeed("runs", tmp_path, "--json"))["experiments"]
    assert row["experiment"] == str(exp)
    assert (row["step"], row["steps"]) == (6, 6)
    assert row["results"]["dev"]["categories"][0]["eer"] == found["categories"][0]["eer"]


def test_check_prints_each_problem_and_fails(tiny):
    assert "no problem" in succeed("check", tiny / "train")
    result = invoke("check", tiny / "train", "--disjoint", tiny / "train")
    assert (result.exit_code, result.output.count("speaker id00000")) == (1, 6)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["data.batchsize=3"], "did you mean data.batch_size?"),
        (["epochs=3", "average=4"], "x.yaml: average is above epochs"),
        (["epochs=9", "average=3", "keep_checkpoints=2"], "average is above epochs"),
        (["epochs=9", "average=3", "keep_checkpoints=3"], None),
        (["epochs=0"], None),
    ],
)
def test_wrong_settings_are_found_before_the_training(experiment, tmp_path, settings, said):
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(experiment))
    result = invoke("train", tmp_path / "x.yaml", *settings, "--check")
    assert result.exit_code == (1 if said else 0), result.output
    assert (said or "x.yaml: the settings are valid") in result.output
    assert not Path(experiment["experiment"]).exists()
