"""`tidyvoice runs A B`."""

import json

import pytest
from runs.support import make, make_run, write_record
from typer.testing import CliRunner

from tests.report.support import COHORT, COSINE, OVERLAP
from tidyvoice.cli import app
from tidyvoice.evaluation.categories import CATEGORIES, OPERATING_POINTS, POOLED
from tidyvoice.report import comparison, load_system
from tidyvoice.report.system import examine
from tidyvoice.runs.results import measure


def invoke(*arguments):
    return CliRunner().invoke(app, ["runs", *map(str, arguments)])


def runs(*arguments):
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def cells(text, start):
    """What stands behind the name of a line; columns are at least two spaces apart."""
    (line,) = (line for line in text.splitlines() if line.startswith(f"{start}  "))
    return [cell.strip() for cell in line.split("  ") if cell.strip()][1:]


@pytest.fixture
def two(tmp_path):
    one = make(tmp_path / "b", shift=0.2)
    other = make(tmp_path / "a", shift=0.6, seed=1, settings={"seed": 2})
    write_record(one, make_run(versions={"torch": "2.8.0"}), make_run())
    write_record(other, make_run(versions={"torch": "2.10.0"}, inputs={"data": "cd" * 32}))
    return one, other


def test_settings_records_and_results_stand_side_by_side(two):
    text = runs(*two)
    assert text.splitlines()[0].split() == [str(folder) for folder in two]
    assert cells(text, "seed") == ["1", "2"]
    assert "epochs" not in text
    # The last runs count: what they made was scored.
    assert cells(text, "versions.torch") == ["2.9.0", "2.10.0"]
    assert cells(text, "inputs.data") == ["ab" * 6, "cd" * 6]
    assert "command" not in text
    measured = [measure(folder / "scores" / "dev.score") for folder in two]
    assert cells(text, "dev EER % all/all")[:2] == [f"{100 * one.eer:.2f}" for one in measured]
    assert cells(text, "dev minDCF all/all")[:2] == [f"{one.min_dcf:.3f}" for one in measured]
    for category in CATEGORIES:
        assert len(cells(text, f"dev EER % {category}")) == 3
    assert f"difference: {two[1]} less {two[0]}, below 0 is better; 95 % intervals" in text


def test_the_differences_are_those_of_the_report(two):
    lines = json.loads(runs(*two, "--bootstrap", "200", "--json"))["lines"]
    systems = [load_system(folder) for folder in two]
    found = comparison.compare(*(examine(one, OPERATING_POINTS, 200) for one in systems))
    assert len(lines) == 6
    for line in lines:
        expected = found.min_dcf[0] if line["metric"] == "min_dcf" else found.eer[line["category"]]
        assert line["difference"]["value"] == expected.value
        assert tuple(line["difference"]["interval"]) == expected.interval
        low, high = expected.interval
        assert low < high
    assert found.eer[POOLED].sure
    assert lines[0]["difference"]["value"] < 0


def test_without_resamples_there_is_a_difference_and_no_interval(two):
    text = runs(*two, "--bootstrap", "0")
    assert "[" not in cells(text, "dev EER % all/all")[2]
    assert "intervals" not in text


def test_scores_of_one_alone_and_of_other_trials_are_not_subtracted(two):
    path = two[0] / "scores" / "dev.score"
    lines = path.read_text().splitlines(keepends=True)
    (two[0] / "scores" / "dev-llr.score").write_text("".join(lines))
    path.write_text("".join(lines[:1000]))
    text = runs(*two)
    assert "dev: 2 different lists of trials; do not compare them" in text
    assert cells(text, "dev EER % all/all")[2] == "-"
    assert cells(text, "dev-llr EER % all/all")[1:] == ["-", "-"]
    assert "difference: " not in text


def test_ids_that_tell_no_speaker_have_no_interval_unless_they_are_given(two, tmp_path):
    for folder in two:
        path = folder / "scores" / "dev.score"
        path.write_text(path.read_text().replace("/", "-"))
    text = runs(*two)
    assert "dev: no intervals, its ids tell no speaker; give --utt2spk" in text
    assert "[" not in cells(text, "dev EER % all/all")[2]
    assert "different/different" not in text
    ids = {word for line in path.read_text().splitlines() for word in line.split()[:2]}
    speakers = tmp_path / "utt2spk"
    speakers.write_text("".join(f"{name} {name.split('-')[0]}\n" for name in sorted(ids)))
    text = runs(*two, "--utt2spk", speakers)
    assert "[" in cells(text, "dev EER % all/all")[2]
    assert "no intervals" not in text
    # Speakers that contradict the labels are told of; the results still stand.
    speakers.write_text("".join(f"{name} same\n" for name in sorted(ids)))
    result = invoke(*two, "--utt2spk", speakers)
    assert result.exit_code == 0
    assert "which their speakers contradict" in result.stderr
    assert cells(result.stdout, "dev EER % all/all")[2] == "-"


def test_what_is_in_sample_or_not_recorded_is_said(two):
    make(two[0], shift=0.2, steps=(COSINE, COHORT))
    (two[1] / "record.json").unlink()
    text = runs(*two)
    assert cells(text, "dev EER % all/all")[0].endswith("*")
    assert f"* IN-SAMPLE: {two[0]}, dev: {OVERLAP}" in text
    assert f"{two[1]}: no record.json says what it ran with" in text
    assert "versions.torch" not in text


def test_two_folders_of_experiments_are_listed_not_compared(two, tmp_path):
    for folder in two:
        (tmp_path / f"of-{folder.name}").mkdir()
        folder.rename(tmp_path / f"of-{folder.name}" / "x")
    text = runs(tmp_path / "of-a", tmp_path / "of-b")
    assert text.startswith("experiment ")
    assert "difference" not in text


def test_too_few_resamples_are_refused(two):
    result = invoke(*two, "--bootstrap", "5")
    assert result.exit_code == 1
    (line,) = result.output.splitlines()
    assert line.startswith("error: 5 resamples")
