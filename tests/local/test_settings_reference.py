"""The page of all settings."""

from pathlib import Path

from tests.local.corpora import succeed

PAGE = Path(__file__).parents[2] / "docs/settings.md"


def test_the_page_is_what_the_program_prints():
    assert PAGE.read_text(encoding="utf-8") == succeed("settings_reference")
