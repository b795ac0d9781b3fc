"""Which experiments are found, and what is read of each."""

import json
import warnings

import pytest
from runs.support import make, make_run, write_record

from tidyvoice.errors import TidyVoiceError, TidyVoiceWarning
from tidyvoice.runs.experiments import find_experiments


def names(root, *folders):
    return [one.name.removeprefix(f"{root}/") for one in find_experiments(folders or [root])]


def test_experiments_are_found_at_any_depth_each_once(tmp_path):
    for place in ("b", "mini/z", "mini/deep/a"):
        folder = make(tmp_path / place)
        (folder / "models").mkdir()
        (folder / "models" / "config.yaml").write_text("model: SimAM_ResNet34_ASP\n")
    (tmp_path / ".hidden").mkdir()
    make(tmp_path / ".hidden" / "x")
    (tmp_path / "mini" / "back").symlink_to(tmp_path)
    assert names(tmp_path) == ["b", "mini/deep/a", "mini/z"]
    assert names(tmp_path, tmp_path / "mini/z", tmp_path) == ["mini/z", "b", "mini/deep/a"]


def test_a_folder_that_is_a_link_to_another_disk_is_looked_into(tmp_path):
    make(tmp_path / "disk" / "a")
    (tmp_path / "exp").mkdir()
    (tmp_path / "exp" / "a").symlink_to(tmp_path / "disk" / "a")
    assert names(tmp_path, tmp_path / "exp") == ["exp/a"]


def test_no_folder_and_no_experiment_are_errors(tmp_path):
    with pytest.raises(TidyVoiceError, match="nowhere: no such folder"):
        find_experiments([tmp_path / "nowhere"])
    with pytest.raises(TidyVoiceError, match=f"no experiment below {tmp_path}"):
        find_experiments([tmp_path])


def test_what_is_read_of_an_experiment(tmp_path):
    folder = make(tmp_path / "a")
    with open(folder / "log" / "train.jsonl", "a") as file:
        # Gone on from a checkpoint before the last step, and killed in a line.
        file.write('{"iteration": 6, "loss": 1.5, "utt_per_s": 900}\n{"iteration": 8, "lo')
    (one,) = find_experiments([tmp_path])
    assert one.settings["data.batch_size"] == 5
    assert "experiment" not in one.settings
    assert (one.progress.step, one.progress.loss) == (6, 1.5)
    assert one.progress.utterances_per_second == 106
    assert one.steps == 12
    assert list(one.scores) == ["dev"]
    assert one.sources == []


def test_the_record_says_the_steps_where_the_settings_do_not(tmp_path):
    folder = make(tmp_path / "a", settings={"epoch_iterations": None})
    assert find_experiments([tmp_path])[0].steps is None
    other = make_run(steps=77, git=None)
    write_record(folder, make_run(), make_run(), other)
    (one,) = find_experiments([tmp_path])
    assert one.steps == 77
    assert one.sources == ["01234567"]


def test_an_experiment_before_its_first_step_is_listed(tmp_path):
    folder = make(tmp_path / "a", logged=0)
    assert find_experiments([tmp_path])[0].progress is None
    (folder / "log" / "train.jsonl").unlink()
    assert find_experiments([tmp_path])[0].progress is None


def test_a_long_log_is_read_from_its_end(tmp_path):
    folder = make(tmp_path / "a")
    rows = [{"iteration": i, "loss": 1.0, "utt_per_s": i // 5000} for i in range(10000)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "log" / "train.jsonl").write_text(text)
    progress = find_experiments([tmp_path])[0].progress
    assert (progress.step, progress.utterances_per_second) == (9999, 1)


@pytest.mark.parametrize(
    ("name", "text", "listed"),
    [
        ("config.yaml", "experiment: [", False),
        ("config.yaml", "- 1\n", False),
        ("config.yaml", "experiment: x\n1: 2\n", False),
        ("config.yaml", "experiment: x\n\x00", False),
        ("record.json", "{", True),
        ("record.json", '{"runs": {"git": 3}}', True),
        ("log/train.jsonl", "no log\n[]\n3\n", True),
    ],
)
def test_what_is_damaged_is_one_warning_that_names_the_file(tmp_path, name, text, listed):
    folder = make(tmp_path / "a")
    make(tmp_path / "b")
    (folder / name).write_text(text)
    with pytest.warns(TidyVoiceWarning) as told:
        found = names(tmp_path)
    assert found == (["a", "b"] if listed else ["b"])
    assert len(told) == 1
    assert str(folder / name) in str(told[0].message)
    assert "\n" not in str(told[0].message)


def test_a_config_that_is_none_of_an_experiment_is_passed_over_in_silence(tmp_path):
    make(tmp_path / "a")
    (tmp_path / "config.yaml").write_text("model: something\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert names(tmp_path) == ["a"]
