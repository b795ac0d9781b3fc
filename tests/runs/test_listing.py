"""`tidyvoice runs`: experiments in a list, and two of them side by side."""

import json
import subprocess
import sys

import pytest
from conftest import invoke, succeed
from runs.support import make, make_run, write_record

from tests.report.support import COHORT, COSINE, LLR
from tidyvoice.record import Git
from tidyvoice.scoring.trials import read_scores


def runs(*arguments):
    return succeed("runs", *arguments)


def rows(text):
    """Cells by the first cell of each line; columns are at least two spaces apart."""
    lines = [
        [cell.strip() for cell in line.split("  ") if cell.strip()] for line in text.split("\n")
    ]
    return {line[0]: line[1:] for line in lines if len(line) > 1}


def table(text):
    """Column and cell of each experiment by its name."""
    head, *cells = rows(text).items()
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
    state = Git(commit="fedcba9876543210", branch=None, changed=3)
    write_record(exp / "fair", make_run(), make_run(git=state))
    return exp


def test_the_best_comes_first_with_the_settings_that_differ(three):
    text, below = runs().split("\n\nsettings that differ:\n")
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
    assert "settings" not in runs("exp/fair")


def test_json_has_the_same_as_fractions(three):
    found = json.loads(runs(three, "--json"))["experiments"]
    assert [row["experiment"] for row in found] == [
        str(three / n) for n in ("x/good", "fair", "raw")
    ]
    assert found[0]["settings"] == {"data.train": ["data/a"], "epochs": 5, "seed": 2}
    assert found[1]["results"]["dev"]["categories"][0] == pooled(three / "fair/scores/dev.score")
    assert len(found[1]["record"]) == 2
    assert found[2]["results"] == {}
    assert found[2]["loss"] is None


def test_dev_and_dev_llr_are_shown_unless_all_lists_are_asked_for(three):
    make(three / "fair", steps=(COSINE, LLR), name="dev-llr")
    make(three / "fair", name="calib")
    (three / "fair" / "scores" / "eval.score").write_text("a b 0.5\n")  # without labels

    def shown(*arguments):
        return [name for name in table(runs("exp/fair", *arguments))["exp/fair"] if "EER" in name]

    assert shown() == ["EER % dev", "EER % dev-llr"]
    assert shown("--all") == ["EER % dev", "EER % dev-llr", "EER % calib"]


def test_results_that_are_too_good_or_of_other_trials_are_marked(three):
    make(three / "fair", shift=0.2, steps=(COSINE, COHORT))
    text = runs()
    found = table(text.split("\n* ")[0])
    assert found["exp/fair"]["EER % dev"].endswith("*")
    assert not found["exp/x/good"]["EER % dev"].endswith("*")
    assert f"* IN-SAMPLE: exp/fair, dev: {COHORT.in_sample[0]}" in text
    assert "trial lists are different" not in text
    path = three / "fair" / "scores" / "dev.score"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:1000]))
    assert "dev: the trial lists are different; do not compare" in runs()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("scores/dev.score", "a b 0.5 target\nnothing\n"),
        ("scores/dev.score", "\x00\x01"),
        ("scores/dev.score.json", "[]"),
        ("record.json", "{"),
        ("config.yaml", "experiment: [\n"),
        ("log/train.jsonl", "nothing\n"),
    ],
)
def test_a_damaged_file_is_one_line_on_stderr_and_the_others_are_listed(three, name, text):
    (three / "fair" / name).write_text(text)
    result = invoke("runs")
    assert result.exit_code == 0
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"warning: exp/fair/{name}")
    assert "exp/x/good" in rows(result.stdout)


def test_no_experiment_and_too_few_resamples_are_one_line(tmp_path, three):
    (tmp_path / "none").mkdir()
    for arguments in (["none"], ["nowhere"], ["exp/fair", "exp/x/good", "--bootstrap", "5"]):
        result = invoke("runs", *arguments)
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


@pytest.fixture
def two(tmp_path):
    one = make(tmp_path / "b", shift=0.2)
    other = make(tmp_path / "a", shift=0.6, seed=1, settings={"seed": 2})
    write_record(one, make_run(versions={"torch": "2.8.0"}), make_run())
    write_record(other, make_run(versions={"torch": "2.10.0"}, inputs={"data": "cd" * 32}))
    return one, other


def test_two_experiments_stand_side_by_side(two):
    text = runs(*two)
    assert text.splitlines()[0].split() == [str(folder) for folder in two]
    found = rows(text)
    assert found["seed"] == ["1", "2"]
    assert "epochs" not in found
    # The last training runs count, because the scores are those of their models.
    assert found["versions.torch"] == ["2.9.0", "2.10.0"]
    assert found["inputs.data"] == ["ab" * 6, "cd" * 6]
    assert "command" not in found
    eers = [100 * pooled(folder / "scores" / "dev.score")["eer"] for folder in two]
    assert [float(cell.split()[0]) for cell in found["EER %"]] == [
        pytest.approx(value, abs=0.0051) for value in (*eers, eers[1] - eers[0])
    ]
    assert all("[" in cell for cell in found["EER %"])
    assert len(found["EER % same/same"]) == 3
    assert "95 % intervals from 1,000 resamples of the speakers" in text


def test_the_differences_are_those_of_metrics(two):
    found = json.loads(runs(*two, "--bootstrap", "200", "--json"))["differences"]["dev"]
    paths = [
        f"{name}={folder / 'scores' / 'dev.score'}" for name, folder in zip("ba", two, strict=True)
    ]
    expected = json.loads(succeed("metrics", *paths, "--bootstrap", 200, "--json"))
    assert found == expected["differences"]["a"]
    assert found["eer"]["all/all"]["interval"][1] < 0
    assert "[" not in "".join(rows(runs(*two, "--bootstrap", "0"))["EER %"])


def test_scores_of_one_alone_and_of_other_trials_are_not_subtracted(two):
    path = two[0] / "scores" / "dev.score"
    lines = path.read_text().splitlines(keepends=True)
    (two[0] / "scores" / "dev-llr.score").write_text("".join(lines))
    path.write_text("".join(lines[:1000]))
    text = runs(*two)
    assert "dev: the trial lists are different" in text
    assert "Difference" not in text
    assert json.loads(runs(*two, "--json"))["differences"] == {"dev": None, "dev-llr": None}


def test_ids_that_do_not_name_speakers_have_no_interval_unless_they_are_given(two, tmp_path):
    for folder in two:
        path = folder / "scores" / "dev.score"
        path.write_text(path.read_text().replace("/", "-"))
    text = runs(*two)
    assert "dev: no intervals, the ids do not name the speakers; give --utt2spk" in text
    assert "[" not in "".join(rows(text)["EER %"])
    ids = read_scores(path).trials.ids
    speakers = tmp_path / "utt2spk"
    speakers.write_text("".join(f"{name} {name.split('-')[0]}\n" for name in ids))
    assert "[" in rows(runs(*two, "--utt2spk", speakers))["EER %"][2]
    speakers.write_text("".join(f"{name} same\n" for name in ids))
    result = invoke("runs", *two, "--utt2spk", speakers)
    assert result.exit_code == 0
    assert "which their speakers contradict" in result.stderr


def test_what_is_in_sample_or_not_recorded_is_said(two):
    make(two[0], shift=0.2, steps=(COSINE, COHORT))
    (two[1] / "record.json").unlink()
    text = runs(*two)
    assert f"{two[0]} (in-sample)" in text
    assert f"* IN-SAMPLE: {two[0]}, dev: {COHORT.in_sample[0]}" in text
    assert f"{two[1]}: no record.json" in text
    assert "versions.torch" not in text


def test_two_folders_of_experiments_are_listed_not_compared(two, tmp_path):
    for folder in two:
        (tmp_path / f"of-{folder.name}").mkdir()
        folder.rename(tmp_path / f"of-{folder.name}" / "x")
    assert runs(tmp_path / "of-a", tmp_path / "of-b").startswith("experiment ")
