"""`tidyvoice runs`: which experiments it finds, and what it prints of them."""

import json
import re
from datetime import datetime, timezone
from pathlib import Path

import pytest
import yaml
from conftest import invoke, succeed

from tests.report.support import COHORT, COSINE, LLR, OVERLAP, make_experiment
from tidyvoice.record import Git, Machine, Record, Run

SETTINGS = {"seed": 1, "epochs": 3, "epoch_iterations": 1000, "data": {"train": ["data/a"]}}
RUN = Run(
    when=datetime(2026, 3, 1, 12, 30, tzinfo=timezone.utc), command="tidyvoice train x.yaml",
    seed=1, steps=12, world_size=1, inputs={"data": "ab" * 32}, versions={"torch": "2.9.0"},
    machine=Machine(platform="p", cpu="c", cores=2, gpus=("H100",), cuda="13.0", cudnn=1),
    git=Git(commit="0123456789", changed=0),
)  # fmt: skip


def write_record(folder: Path, *changes: dict) -> None:
    record = Record(runs=tuple(RUN.model_copy(update=change) for change in changes))
    (folder / "record.json").write_text(record.model_dump_json())


def make(folder: Path, shift=0.5, settings=None, log=True, **scores) -> Path:
    """An experiment folder with scores of 1,128 trials, a log and settings."""
    make_experiment(folder, shift, log, **scores)
    values = {"experiment": str(folder), **SETTINGS, **(settings or {})}
    (folder / "config.yaml").write_text(yaml.safe_dump(values))
    return folder


def listed(folder):
    return json.loads(succeed("runs", folder, "--json"))["experiments"]


def table(text):
    """Column and cell of each experiment by its name; columns are at least two spaces apart."""
    head, _, *lines = (re.split(r"\s{2,}", line) for line in text.splitlines())
    return {line[0]: dict(zip(head[1:], line[1:], strict=True)) for line in lines}


@pytest.fixture
def three(tmp_path, monkeypatch):
    """Three experiments below exp: good and fair with scores, raw without any."""
    monkeypatch.chdir(tmp_path)
    exp = tmp_path / "exp"
    make(exp / "fair", shift=0.2)
    make(exp / "x" / "good", shift=0.6, settings={"seed": 2, "epochs": 5})
    make(exp / "raw", settings={"data": {"train": ["data/a", "data/b"]}}, log=False)
    (exp / "raw" / "scores" / "dev.score").unlink()
    write_record(exp / "fair", {}, {"git": Git(commit="fedcba9876543210", changed=3)})
    return exp


def test_experiments_are_found_at_any_depth_each_once(tmp_path):
    for place in ("b", "mini/z", "mini/deep/a", ".hidden/x"):
        make(tmp_path / place, log=False)
    (tmp_path / "config.yaml").write_text("model: not of an experiment\n")
    (tmp_path / "mini" / "back").symlink_to(tmp_path)
    (tmp_path / "mini" / "linked").symlink_to(tmp_path / ".hidden" / "x")
    result = invoke("runs", tmp_path, tmp_path / "mini/z", tmp_path, "--json")
    found = [row["experiment"] for row in json.loads(result.stdout)["experiments"]]
    names = ("b", "mini/deep/a", "mini/linked", "mini/z")
    assert sorted(found) == [f"{tmp_path}/{name}" for name in names]
    assert result.stderr == ""


def test_a_resumed_and_killed_training_is_where_its_last_line_is(tmp_path):
    folder = make(tmp_path / "a")
    with open(folder / "log" / "train.jsonl", "a") as file:
        # Resumed from a checkpoint before the last step, and killed in a line.
        file.write('{"iteration": 6, "loss": 1.5, "utt_per_s": 900}\n{"iteration": 8, "lo')
    (row,) = listed(tmp_path)
    progress = [row[key] for key in ("step", "steps", "loss", "utterances_per_second")]
    assert progress == [6, 3000, 1.5, 9]
    write_record(folder, {}, {"steps": 77, "git": None})
    (folder / "log" / "train.jsonl").write_text("")
    (row,) = listed(tmp_path)
    assert (row["step"], row["steps"], row["loss"]) == (None, 77, None)


def test_the_best_comes_first_with_the_settings_that_differ(three):
    text, below = succeed("runs").split("\n\nsettings that differ:\n")
    found = table(text)
    assert list(found) == ["exp/x/good", "exp/fair", "exp/raw"]
    path = three / "fair" / "scores" / "dev.score"
    measured = json.loads(succeed("metrics", path, "--json"))["categories"][0]
    assert found["exp/fair"] == {
        "EER % dev": f"{100 * measured['eer']:.2f}", "minDCF dev": f"{measured['min_dcf']:.3f}",
        "step": "2998/12", "loss": "3.004", "utt/s": "9", "commit": "01234567, fedcba98+",
        "begun (UTC)": "2026-03-01 12:30",
    }  # fmt: skip
    assert list(found["exp/raw"].values()) == ["-", "-", "0/3000", "-", "-", "-", "-"]
    assert below.splitlines() == [
        'exp/x/good: data.train=["data/a"], epochs=5, seed=2',
        'exp/fair: data.train=["data/a"], epochs=3, seed=1',
        'exp/raw: data.train=["data/a", "data/b"], epochs=3, seed=1',
    ]
    good, fair, _ = listed(three)
    assert good["settings"] == {"data.train": ["data/a"], "epochs": 5, "seed": 2}
    assert fair["results"]["dev"]["categories"][0] == measured


def test_results_that_are_too_good_or_of_other_trials_are_marked(three):
    make(three / "fair", shift=0.2, steps=(COSINE, COHORT))
    make(three / "fair", steps=(COSINE, LLR), name="dev-llr")
    text = succeed("runs")
    found = table(text.split("\n* ")[0])
    assert found["exp/fair"]["EER % dev"].endswith("*")
    assert not found["exp/x/good"]["EER % dev"].endswith("*")
    assert f"* IN-SAMPLE: exp/fair, dev: {OVERLAP}" in text
    path = three / "fair" / "scores" / "dev.score"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:1000]))
    assert "dev: the trial lists are different; do not compare" in succeed("runs")


def test_a_damaged_file_is_one_line_on_stderr_and_the_others_are_listed(three):
    (three / "fair/record.json").write_text("{")
    result = invoke("runs")
    (line,) = result.stderr.splitlines()
    assert line.startswith("warning: exp/fair/record.json")
    assert "\nexp/x/good " in result.stdout


def test_no_experiment_is_an_error(tmp_path):
    assert "no experiment below" in invoke("runs", tmp_path).output
    assert "nowhere: no such folder" in invoke("runs", tmp_path / "nowhere").output
