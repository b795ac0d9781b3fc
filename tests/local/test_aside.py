"""`python -m local.aside`, with which run.sh --force keeps what was there."""

from tests.preloaded import run
from tidyvoice.files import only_writer


def test_the_first_free_name_is_taken(tmp_path):
    folder = tmp_path / "exp"
    for content in "abc":
        folder.mkdir()
        (folder / "file").write_text(content)
        result = run("python", "-m", "local.aside", folder)
    assert [(tmp_path / f"exp.{number}/file").read_text() for number in (1, 2, 3)] == [*"abc"]
    assert f"{folder} is kept as {folder}.3;" in result.stdout


def test_a_folder_in_which_somebody_writes_is_left_alone(tmp_path):
    with only_writer(tmp_path):
        result = run("python", "-m", "local.aside", tmp_path)
    assert result.returncode == 1
    assert result.stderr == (
        f"error: another process is writing in {tmp_path}: wait for it or stop it\n"
    )
    assert tmp_path.exists()
