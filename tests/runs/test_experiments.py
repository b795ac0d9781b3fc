"""Which experiments `tidyvoice runs` finds, and what it reads of each."""

import json

from conftest import invoke, succeed
from runs.support import make, make_run, write_record


def found(*folders):
    rows = json.loads(succeed("runs", *folders, "--json"))["experiments"]
    return {row["experiment"]: row for row in rows}


def names(root, *folders):
    return {name.removeprefix(f"{root}/") for name in found(*(folders or [root]))}


def test_experiments_are_found_at_any_depth_each_once(tmp_path):
    for place in ("b", "mini/z", "mini/deep/a"):
        folder = make(tmp_path / place)
        (folder / "models").mkdir()
        (folder / "models" / "config.yaml").write_text("model: SimAM_ResNet34_ASP\n")
    (tmp_path / ".hidden").mkdir()
    make(tmp_path / ".hidden" / "x")
    (tmp_path / "mini" / "back").symlink_to(tmp_path)
    assert names(tmp_path) == {"b", "mini/deep/a", "mini/z"}
    assert names(tmp_path, tmp_path / "mini/z", tmp_path) == {"mini/z", "b", "mini/deep/a"}


def test_a_link_to_a_folder_on_another_disk_is_followed(tmp_path):
    make(tmp_path / "disk" / "a")
    (tmp_path / "exp").mkdir()
    (tmp_path / "exp" / "a").symlink_to(tmp_path / "disk" / "a")
    assert names(tmp_path, tmp_path / "exp") == {"exp/a"}


def test_a_resumed_and_killed_training_is_where_its_last_line_is(tmp_path):
    folder = make(tmp_path / "a")
    with open(folder / "log" / "train.jsonl", "a") as file:
        # Resumed from a checkpoint before the last step, and killed in a line.
        file.write('{"iteration": 6, "loss": 1.5, "utt_per_s": 900}\n{"iteration": 8, "lo')
    (row,) = found(tmp_path).values()
    assert (row["step"], row["steps"], row["loss"]) == (6, 12, 1.5)
    assert row["utterances_per_second"] == 104
    assert list(row["results"]) == ["dev"]


def test_the_record_gives_the_steps_where_the_settings_do_not(tmp_path):
    folder = make(tmp_path / "a", settings={"epoch_iterations": None})
    (row,) = found(tmp_path).values()
    assert row["steps"] is None
    write_record(folder, make_run(), make_run(), make_run(steps=77, git=None))
    (row,) = found(tmp_path).values()
    assert row["steps"] == 77


def test_an_experiment_before_its_first_step_is_listed(tmp_path):
    folder = make(tmp_path / "a", logged=0)
    for _ in range(2):
        (row,) = found(tmp_path).values()
        assert (row["step"], row["loss"], row["utterances_per_second"]) == (None, None, None)
        (folder / "log" / "train.jsonl").unlink(missing_ok=True)


def test_a_config_that_is_not_of_an_experiment_is_skipped_in_silence(tmp_path):
    make(tmp_path / "a")
    (tmp_path / "config.yaml").write_text("model: something\n")
    result = invoke("runs", tmp_path)
    assert result.stderr == ""
    assert f"{tmp_path}/a" in result.stdout
