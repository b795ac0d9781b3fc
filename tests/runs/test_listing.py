"""`tidyvoice runs` on several experiments."""

import json
import subprocess
import sys

import pytest
from runs.support import make, make_run, write_record
from typer.testing import CliRunner

from tests.report.support import COHORT, COSINE, LLR, OVERLAP
from tidyvoice.cli import app
from tidyvoice.record import Git
from tidyvoice.runs.results import measure
from tidyvoice.scoring.trials import ScoreTable, Trials, read_scores, write_scores


def invoke(*arguments):
    return CliRunner().invoke(app, ["runs", *map(str, arguments)])


def runs(*arguments):
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def table(text):
    """Column and cells of each experiment by its name; columns are at least two spaces apart."""
    lines = text.splitlines()
    rule = next(number for number, line in enumerate(lines) if set(line) == {"-"})
    head, *rows = (
        [cell.strip() for cell in line.split("  ") if cell.strip()]
        for line in [lines[0], *(line for line in lines[rule + 1 :] if line[:1] in ("/", "e"))]
    )
    return {row[0]: dict(zip(head, row, strict=True)) for row in rows}


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")


@pytest.fixture
def three(tmp_path, monkeypatch):
    """Three experiments below exp: good and fair with scores, raw without any."""
    monkeypatch.chdir(tmp_path)
    exp = tmp_path / "exp"
    make(exp / "fair", shift=0.2)
    make(exp / "x" / "good", shift=0.6, settings={"seed": 2, "epochs": 5})
    make(exp / "raw", settings={"data": {"train": ["data/a", "data/b"], "batch_size": 5}}, logged=0)
    (exp / "raw" / "scores" / "dev.score").unlink()
    state = Git(commit="fedcba9876543210", branch=None, changed=3)
    write_record(exp / "fair", make_run(), make_run(git=state))
    return exp


def test_the_best_comes_first_with_the_settings_that_differ(three):
    text = runs()
    found = table(text)
    assert list(found) == ["exp/x/good", "exp/fair", "exp/raw"]
    columns = ["experiment", "EER % dev", "minDCF dev", "step", "loss", "utt/s", "commit"]
    assert list(found["exp/fair"]) == [
        *columns, "begun (UTC)", "data.train", "epochs", "seed",
    ]  # fmt: skip
    fair, good, raw = (found[name] for name in ("exp/fair", "exp/x/good", "exp/raw"))
    measured = measure(three / "fair" / "scores" / "dev.score")
    assert fair["EER % dev"] == f"{100 * measured.eer:.2f}"
    assert fair["minDCF dev"] == f"{measured.min_dcf:.3f}"
    assert (fair["step"], fair["loss"], fair["utt/s"]) == ("8/12", "7.000", "105")
    assert fair["commit"] == "01234567, fedcba98+"
    assert fair["begun (UTC)"] == "2026-03-01 12:30"
    assert (good["step"], good["epochs"], good["seed"], good["commit"]) == ("8/20", "5", "2", "-")
    assert (raw["step"], raw["loss"], raw["EER % dev"]) == ("0/12", "-", "-")
    assert raw["data.train"] == '["data/a", "data/b"]'


def test_settings_that_do_not_fit_stand_below_the_table(three, monkeypatch):
    many = [f"data/{n}" for n in range(9)]
    make(three / "wide", settings={"seed": 3, "data": {"train": many, "batch_size": 5}})
    wide = table(runs())
    monkeypatch.setenv("COLUMNS", "110")
    text = runs()
    assert max(map(len, text.splitlines())) <= 110
    narrow, below = text.split("\n\n")
    found = table(narrow)
    for name, row in found.items():
        assert list(row)[-1] == "begun (UTC)"
        assert row.items() <= wide[name].items()
    told = dict(line.split(": ", 1) for line in below.replace("\n    ", " ").splitlines())
    assert list(told) == ["settings of most", *found]
    assert told["settings of most"] == 'data.train=["data/a"], epochs=3, seed=1'
    assert told["exp/fair"] == "as most"
    assert told["exp/x/good"] == "epochs=5, seed=2"
    assert told["exp/raw"] == 'data.train=["data/a", "data/b"]'
    assert told["exp/wide"] == f"data.train={json.dumps(many)}, seed=3"


def test_json_has_the_same_as_fractions(three):
    rows = json.loads(runs(three, "--json"))["experiments"]
    assert [row["experiment"] for row in rows] == [
        str(three / n) for n in ("x/good", "fair", "raw")
    ]
    assert rows[0]["settings"] == {"data.train": ["data/a"], "epochs": 5, "seed": 2}
    assert rows[1]["results"]["dev"]["eer"] == measure(three / "fair/scores/dev.score").eer
    assert len(rows[1]["record"]) == 2
    assert rows[2]["results"] == {}
    assert rows[2]["loss"] is None


def test_of_scores_those_called_dev_and_dev_llr_unless_all_are_asked_for(three):
    make(three / "fair", steps=(COSINE, LLR), name="dev-llr")
    make(three / "fair", name="calib")
    (three / "fair" / "scores" / "eval.score").write_text("a b 0.5\n")
    shown = [column for column in table(runs())["exp/fair"] if column.startswith("EER")]
    assert shown == ["EER % dev", "EER % dev-llr"]
    shown = [column for column in table(runs("--all"))["exp/fair"] if column.startswith("EER")]
    assert shown == ["EER % dev", "EER % dev-llr", "EER % calib"]


def test_scores_in_sample_are_marked(three):
    make(three / "fair", shift=0.2, steps=(COSINE, COHORT))
    text = runs()
    assert table(text)["exp/fair"]["EER % dev"].endswith("*")
    assert not table(text)["exp/x/good"]["EER % dev"].endswith("*")
    assert f"* IN-SAMPLE: exp/fair, dev: {OVERLAP}" in text


def test_scores_of_other_trials_are_said_to_be(three):
    assert "different lists" not in runs()
    path = three / "fair" / "scores" / "dev.score"
    whole = read_scores(path)
    part = slice(0, 1000)
    fewer = Trials(
        whole.trials.ids,
        whole.trials.enroll[part],
        whole.trials.test[part],
        whole.trials.label[part],
    )
    write_scores(path, ScoreTable(fewer, whole.scores[part]))
    assert "dev: 2 different lists of trials; do not compare them" in runs()


def test_a_single_experiment_has_no_settings_that_differ(three):
    (row,) = table(runs("exp/fair")).values()
    assert list(row)[-1] == "begun (UTC)"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("scores/dev.score", "a b 0.5 target\nnothing\n"),
        ("scores/dev.score", "\x00\x01"),
        ("scores/dev.score.json", "[]"),
        ("record.json", "{"),
        ("config.yaml", "experiment: [\n"),
    ],
)
def test_a_damaged_file_is_one_line_on_stderr_and_the_others_are_listed(three, name, text):
    (three / "fair" / name).write_text(text)
    result = invoke()
    assert result.exit_code == 0
    assert result.exception is None
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"warning: exp/fair/{name}")
    assert "exp/x/good" in table(result.stdout)
    assert json.loads(invoke("--json").stdout)


def test_no_experiment_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments in ([], [tmp_path]):
        result = invoke(*arguments)
        assert result.exit_code == 1
        (line,) = result.output.splitlines()
        assert line.startswith("error: ")


@pytest.mark.parametrize("folders", [["exp"], ["exp/fair", "exp/x/good"]])
def test_the_command_loads_no_torch(three, folders):
    code = (
        "import sys\nfrom tidyvoice.cli import app\n"
        f"app({['runs', *folders]!r}, standalone_mode=False)\n"
        "sys.exit('torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=three.parent, capture_output=True)
    assert run.returncode == 0, run.stderr
    assert b"exp/fair" in run.stdout
