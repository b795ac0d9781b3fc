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
    with only_writer(tmp_path):
        assert f"another process is writing in {tmp_path}" in fail("aside", tmp_path)


def test_the_lowest_eer_is_chosen_then_the_lowest_cost(tmp_path):
    # One of two trials of each kind is on the wrong side; only the first has a threshold without
    # false alarms that accepts a target.
    scores = {"first": (4, 1, 3, 0), "second": (3, 1, 4, 0), "best": (4, 3, 1, 0)}
    for name, (one, two, three, four) in scores.items():
        (tmp_path / name).write_text(
            f"a/en/0 a/en/1 {one} target\na/en/1 a/en/2 {two} target\n"
            f"a/en/0 b/fr/1 {three} nontarget\na/en/1 b/fr/1 {four} nontarget\n"
        )
    for names, chosen in (("second first", "first"), ("first best", "best")):
        said = succeed("choice", *(f"{name}={tmp_path / name}" for name in names.split()))
        assert said.endswith(f"\nlowest EER (ties by minDCF): {chosen}\n")


def test_the_page_of_the_settings_is_what_the_program_prints():
    page = Path(__file__).parents[2] / "docs/settings.md"
    assert page.read_text(encoding="utf-8") == succeed("settings_reference")
