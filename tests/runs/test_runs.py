"""`tidyvoice runs`: which experiments it finds, and what it prints of them."""

import json
from datetime import datetime, timezone
from pathlib import Path

import pytest
import yaml
from conftest import invoke, succeed

from tests.report.support import COHORT, COSINE, LLR, OVERLAP, make_experiment
from tidyvoice.record import Git, Machine, Record, Run

SETTINGS = {
    "seed": 1,
    "epochs": 3,
    "epoch_iterations": 4,
    "data": {"train": ["data/a"], "batch_size": 5},
    "learning_rate": {"args": {"initial_lr": 0.05}},
}
RUN = Run(
    when=datetime(2026, 3, 1, 12, 30, tzinfo=timezone.utc), command="tidyvoice train x.yaml",
    seed=1, steps=12, world_size=1, inputs={"data": "ab" * 32}, versions={"torch": "2.9.0"},
    machine=Machine(platform="p", cpu="c", cores=2, gpus=("H100",), cuda="13.0", cudnn=1),
    git=Git(commit="0123456789", changed=0),
)  # fmt: skip


def write_record(folder: Path, *changes: dict) -> None:
    record = Record(runs=tuple(RUN.model_copy(update=change) for change in changes))
    (folder / "record.json").write_text(record.model_dump_json())


def make(folder: Path, shift=0.5, settings=None, logged=8, **scores) -> Path:
    """An experiment folder with scores of 1,128 trials, a log of some steps, and settings."""
    make_experiment(folder, shift, log=False, **scores)
    values = {"experiment": str(folder), **SETTINGS, **(settings or {})}
    (folder / "config.yaml").write_text(yaml.safe_dump(values))
    (folder / "log").mkdir(exist_ok=True)
    rows = [
        {"iteration": i, "loss": 9 - i / 4, "utt_per_s": 100 + i} for i in range(2, logged + 1, 2)
    ]
    (folder / "log/train.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder


def listed(*folders):
    return json.loads(succeed("runs", *folders, "--json"))["experiments"]


def rows(text):
    """Cells by the first cell of each line; columns are at least two spaces apart."""
    lines = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in text]
    return {line[0]: line[1:] for line in lines if len(line) > 1}


def table(text):
    """Column and cell of each experiment by its name."""
    head, *cells = rows(text.splitlines()).items()
    return {name: dict(zip(head[1], row, strict=True)) for name, row in cells}


def pooled(path):
    return json.loads(succeed("metrics", path, "--json"))["categories"][0]


@pytest.fixture
def three(tmp_path, monkeypatch):
    """Three experiments below exp: good and fair with scores, raw without any."""
    monkeypatch.chdir(tmp_path)
    exp = tmp_path / "exp"
    make(exp / "fair", shift=0.2)
    make(exp / "x" / "good", shift=0.6, settings={"seed": 2, "epochs": 5})
    make(exp / "raw", settings={"data": {"train": ["data/a", "data/b"], "batch_size": 5}}, logged=0)
    (exp / "raw" / "scores" / "dev.score").unlink()
    write_record(exp / "fair", {}, {"git": Git(commit="fedcba9876543210", changed=3)})
    return exp


def test_experiments_are_found_at_any_depth_each_once(tmp_path):
    for place in ("b", "mini/z", "mini/deep/a", ".hidden/x"):
        (make(tmp_path / place) / "models").mkdir()
        (tmp_path / place / "models" / "config.yaml").write_text("model: ResNet34\n")
    (tmp_path / "config.yaml").write_text("model: not of an experiment\n")
    (tmp_path / "mini" / "back").symlink_to(tmp_path)
    (tmp_path / "mini" / "linked").symlink_to(tmp_path / ".hidden" / "x")
    for folders in ([tmp_path], [tmp_path, tmp_path / "mini/z", tmp_path]):
        result = invoke("runs", *folders, "--json")
        found = {row["experiment"] for row in json.loads(result.stdout)["experiments"]}
        names = ("b", "mini/deep/a", "mini/linked", "mini/z")
        assert found == {f"{tmp_path}/{name}" for name in names}
        assert result.stderr == ""


def test_a_resumed_and_killed_training_is_where_its_last_line_is(tmp_path):
    folder = make(tmp_path / "a")
    with open(folder / "log" / "train.jsonl", "a") as file:
        # Resumed from a checkpoint before the last step, and killed in a line.
        file.write('{"iteration": 6, "loss": 1.5, "utt_per_s": 900}\n{"iteration": 8, "lo')
    (row,) = listed(tmp_path)
    assert (row["step"], row["steps"], row["loss"]) == (6, 12, 1.5)
    assert row["utterances_per_second"] == 104
    write_record(folder, {}, {"steps": 77, "git": None})
    (folder / "log" / "train.jsonl").write_text("")
    (row,) = listed(tmp_path)
    assert (row["step"], row["steps"], row["loss"]) == (None, 77, None)


def test_the_best_comes_first_with_the_settings_that_differ(three):
    text, below = succeed("runs").split("\n\nsettings that differ:\n")
    found = table(text)
    assert list(found) == ["exp/x/good", "exp/fair", "exp/raw"]
    fair, good, raw = (found[name] for name in ("exp/fair", "exp/x/good", "exp/raw"))
    measured = pooled(three / "fair" / "scores" / "dev.score")
    assert fair == {
        "EER % dev": f"{100 * measured['eer']:.2f}", "minDCF dev": f"{measured['min_dcf']:.3f}",
        "step": "8/12", "loss": "7.000", "utt/s": "105", "commit": "01234567, fedcba98+",
        "begun (UTC)": "2026-03-01 12:30",
    }  # fmt: skip
    assert (good["step"], good["commit"]) == ("8/20", "-")
    assert (raw["step"], raw["loss"], raw["EER % dev"]) == ("0/12", "-", "-")
    assert below.splitlines() == [
        'exp/x/good: data.train=["data/a"], epochs=5, seed=2',
        'exp/fair: data.train=["data/a"], epochs=3, seed=1',
        'exp/raw: data.train=["data/a", "data/b"], epochs=3, seed=1',
    ]
    assert "settings" not in succeed("runs", "exp/fair")
    values = listed(three)
    assert values[0]["settings"] == {"data.train": ["data/a"], "epochs": 5, "seed": 2}
    assert values[1]["results"]["dev"]["categories"][0] == measured
    assert len(values[1]["record"]) == 2
    assert values[2]["results"] == {}


def test_results_that_are_too_good_or_of_other_trials_are_marked(three):
    make(three / "fair", shift=0.2, steps=(COSINE, COHORT))
    make(three / "fair", steps=(COSINE, LLR), name="dev-llr")
    text = succeed("runs")
    found = table(text.split("\n* ")[0])
    assert found["exp/fair"]["EER % dev"].endswith("*")
    assert found["exp/x/good"]["EER % dev-llr"] == "-"
    assert not found["exp/x/good"]["EER % dev"].endswith("*")
    assert f"* IN-SAMPLE: exp/fair, dev: {OVERLAP}" in text
    assert "trial lists are different" not in text
    path = three / "fair" / "scores" / "dev.score"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:1000]))
    assert "dev: the trial lists are different; do not compare" in succeed("runs")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("scores/dev.score", "a b 0.5 target\nnothing\n"),
        ("scores/dev.score.json", "[]"),
        ("record.json", "{"),
        ("config.yaml", "experiment: [\n"),
    ],
)
def test_a_damaged_file_is_one_line_on_stderr_and_the_others_are_listed(three, name, text):
    (three / "fair" / name).write_text(text)
    result = invoke("runs")
    assert result.exit_code == 0
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"warning: exp/fair/{name}")
    assert "exp/x/good" in rows(result.stdout.splitlines())


@pytest.mark.parametrize("folder", [".", "nowhere"])
def test_no_experiment_is_one_line(tmp_path, folder):
    result = invoke("runs", tmp_path / folder)
    assert result.exit_code == 1
    (line,) = result.output.splitlines()
    assert line.startswith("error: ")
