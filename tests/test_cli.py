import re

import pytest
import typer
from conftest import succeed

from tidyvoice.cli import app

TOP = typer.main.get_command(app).commands
COMMANDS = sorted({*TOP, "hub push"} - {"hub"})


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_it_does_with_an_example(command):
    assert re.search(rf"Example:\s+tidyvoice {command} ", succeed(*command.split(), "--help"))
