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
    ],
)
def test_wrong_settings_are_found_before_the_training(experiment, tmp_path, settings, said):
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(experiment))
    result = invoke("train", tmp_path / "x.yaml", *settings, "--check")
    assert result.exit_code == (1 if said else 0), result.output
    assert (said or "x.yaml: the settings are valid") in result.output
    assert not Path(experiment["experiment"]).exists()
