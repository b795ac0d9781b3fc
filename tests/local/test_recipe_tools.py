"""Commands that run.sh uses besides those of the corpora, and the page of the settings."""

from pathlib import Path

from tests.local.corpora import fail, succeed
from tidyvoice.files import only_writer


def test_a_folder_set_aside_takes_the_first_free_name(tmp_path):
    folder = tmp_path / "exp"
    for content in "ab":
        folder.mkdir()
        (folder / "file").write_text(content)
        said = succeed("aside", folder)
    assert [(tmp_path / f"exp.{number}/file").read_text() for number in (1, 2)] == [*"ab"]
    assert f"{folder} is kept as {folder}.2;" in said
    assert f"{folder} is no folder" in fail("aside", folder)
    assert not folder.exists()
    with only_writer(tmp_path):
        assert f"another process is writing in {tmp_path}" in fail("aside", tmp_path)


def test_the_page_of_the_settings_is_what_the_program_prints():
    page = Path(__file__).parents[2] / "docs/settings.md"
    assert page.read_text(encoding="utf-8") == succeed("settings_reference")
