import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from conftest import invoke, succeed

from tidyvoice.training.checkpoint import epoch_checkpoints

COMMANDS = (
    "check", "shards", "trials", "train", "average", "extract", "score", "normalize", "calibrate",
    "fuse", "metrics", "report", "doctor", "fetch-model", "submission",
    "runs", "embed", "verify", "enroll", "voices", "identify", "fit-verifier", "export",
    "hub push", "demo",
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_it_does_with_an_example(command):
    assert re.search(rf"Example:\s+tidyvoice {command} ", succeed(*command.split(), "--help"))


def test_help_needs_no_torch():
    code = "import sys, tidyvoice.cli; sys.exit('torch' in sys.modules or 'polars' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.fixture(scope="module")
def chain(tmp_path_factory, tiny):
    """Everything from a training to a report through the commands; the experiment's folder."""
    folder = tmp_path_factory.mktemp("chain")
    config = folder / "experiment.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "experiment": str(folder / "exp"),
                "epochs": 2,
                "epoch_iterations": 3,
                "device": "cpu",
                "data": {
                    "train": str(tiny / "train"),
                    "chunk_frames": 40,
                    "batch_size": 4,
                    "num_workers": 2,
                },
                "model": {"args": {"in_planes": 2, "embed_dim": 16}},
                "learning_rate": {"args": {"initial_lr": 0.05, "final_lr": 0.01}},
            }
        )
    )
    exp = folder / "exp"
    succeed("train", config, "seed=3")
    succeed("average", exp, "--last", 2)
    table = exp / "embeddings" / "dev.npz"
    succeed("extract", "--model", exp / "models", "--data", tiny / "train", "--out", table)
    utterances = sorted((tiny / "corpus").glob("*/*/*.wav"))
    ids = [str(path.relative_to(tiny / "corpus")) for path in utterances]
    trials = [
        f"{int(a.split('/')[0] == b.split('/')[0])} {a} {b}\n"
        for i, a in enumerate(ids)
        for b in ids[i + 1 :]
    ]
    (folder / "trials").write_text("".join(trials))
    succeed(
        "score", "--embeddings", table, "--trials", folder / "trials",
        "--mean", table, "--out", exp / "scores" / "dev.score", "--allow-overlap",
    )  # fmt: skip
    return exp


def test_metrics_prints_the_four_categories(chain):
    text = succeed("metrics", chain / "scores" / "dev.score")
    for category in ("all/all", "different/different", "different/same", "same/different"):
        assert category in text
    found = json.loads(succeed("metrics", chain / "scores" / "dev.score", "--json"))
    rows = found["categories"]
    assert len(found["in_sample"]) == 2
    assert rows[0]["targets"] == 36
    assert 0 <= rows[0]["eer"] <= 1


def test_report_prints_the_table_and_the_page(chain):
    text = succeed("report", chain, "--compare", chain)
    assert f"report: {chain / 'report.html'}" in text
    assert "<svg" in (chain / "report.html").read_text()
    found = json.loads(succeed("report", chain, "--json"))
    assert set(found["systems"]) == {"exp"}


def test_runs_lists_what_was_trained_with_its_scores(chain):
    (row,) = json.loads(succeed("runs", chain.parent, "--json"))["experiments"]
    assert row["experiment"] == str(chain)
    assert (row["step"], row["steps"]) == (6, 6)
    assert row["loss"] > 0
    found = json.loads(succeed("metrics", chain / "scores" / "dev.score", "--json"))
    assert row["results"]["dev"]["categories"][0]["eer"] == found["categories"][0]["eer"]
    assert row["results"]["dev"]["in_sample"] == found["in_sample"]


def test_check_prints_each_problem_and_fails(tiny):
    assert "no problem" in succeed("check", tiny / "train")
    result = invoke("check", tiny / "train", "--disjoint", tiny / "train")
    assert result.exit_code == 1
    assert result.output.count("speaker id00000") == 6


@pytest.mark.parametrize(
    ("trials", "message"),
    [
        ("", "trials"),
        ("1 nobody/en/a.wav id000000/en/en_0.wav\n", "trials:1: no embedding for 'nobody/en/a"),
        ("1 id000000/en/en_0.wav\n", "trials:1"),
    ],
)
def test_a_bad_trial_list_is_one_line_and_writes_nothing(chain, tmp_path, trials, message):
    (tmp_path / "trials").write_text(trials)
    result = invoke(
        "score", "--embeddings", chain / "embeddings" / "dev.npz",
        "--trials", tmp_path / "trials", "--out", tmp_path / "out.score", "--allow-overlap",
    )  # fmt: skip
    assert result.exit_code == 1
    error = result.output.strip().splitlines()
    assert len(error) == 1
    assert error[0].startswith("error: ")
    assert message in error[0]
    assert not (tmp_path / "out.score").exists()


def test_a_wrong_key_is_one_line(experiment, tmp_path):
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(experiment))
    result = invoke("train", tmp_path / "x.yaml", "data.batchsize=3")
    assert result.exit_code == 1
    assert "did you mean data.batch_size?" in result.output
    assert not Path(experiment["experiment"]).exists()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["epochs=3", "average=4"], "x.yaml: average is above epochs"),
        (
            ["epochs=9", "average=3", "keep_checkpoints=2"],
            "average is above epochs",
        ),
        (["epochs=9", "average=3", "keep_checkpoints=3"], None),
        (["epochs=0"], None),
    ],
)
def test_epochs_that_will_not_be_there_are_missed_before_the_training(
    experiment, tmp_path, settings, said
):
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(experiment))
    result = invoke("train", tmp_path / "x.yaml", *settings, "--check")
    assert result.exit_code == (1 if said else 0), result.output
    assert (said or "x.yaml: the settings are valid") in result.output
    assert not Path(experiment["experiment"]).exists()


def test_an_interrupted_training_says_so_and_goes_on(experiment, tmp_path):
    experiment |= {"epochs": 2000, "epoch_iterations": 2, "keep_checkpoints": 3}
    experiment["data"]["num_workers"] = 2
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(experiment))
    command = [sys.executable, "-m", "tidyvoice", "train", str(tmp_path / "x.yaml")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    folder = Path(experiment["experiment"])

    def interrupt_after(epoch, sent):
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        while process.poll() is None and max(epoch_checkpoints(folder), default=0) < epoch:
            time.sleep(0.05)
        process.send_signal(sent)
        out, error = process.communicate(timeout=60)
        assert process.returncode == 130, error
        assert "interrupted: finished work is kept" in error
        assert "Traceback" not in error
        return out

    interrupt_after(2, signal.SIGINT)
    reached = max(epoch_checkpoints(folder))
    assert "resuming at step" in interrupt_after(reached + 2, signal.SIGTERM)
    assert not list(folder.rglob("*.partial"))
