import errno
import os
import platform
import signal
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

from tidyvoice.errors import (
    INTERRUPTED,
    TidyVoiceError,
    TidyVoiceWarning,
    one_line_errors,
    summarise,
)
from tidyvoice.files import atomic_path, write_text


@pytest.fixture
def fail(capsys):
    """Raise an error in a command; return its exit status and what it writes to stderr."""

    def fail(error):
        with pytest.raises(SystemExit) as stopped, one_line_errors():
            raise error
        return stopped.value.code, capsys.readouterr().err

    return fail


def test_bad_input_ends_in_one_line(fail):
    assert fail(TidyVoiceError("x.yaml: no key")) == (1, "error: x.yaml: no key\n")


def test_an_interruption_ends_as_shells_expect(fail):
    assert fail(KeyboardInterrupt())[0] == INTERRUPTED
    with pytest.raises(SystemExit) as stopped, one_line_errors():
        signal.raise_signal(signal.SIGTERM)
    assert stopped.value.code == INTERRUPTED


def test_a_full_disk_is_said(fail):
    status, message = fail(OSError(errno.ENOSPC, "No space left on device", "exp/model.pt"))
    assert (status, message.count("\n")) == (1, 1)
    assert message.startswith("error: the disk is full: exp/model.pt; free some space")


def test_other_failures_of_the_system_name_the_file(fail):
    error = PermissionError(errno.EACCES, "Permission denied", "/data/x")
    assert fail(error) == (1, "error: Permission denied: /data/x\n")
    assert fail(FileNotFoundError("no index")) == (1, "error: no index\n")


def test_a_defect_of_ours_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError), one_line_errors():
        raise ZeroDivisionError


def test_a_warning_of_another_library_keeps_its_category_and_place(capsys, monkeypatch):
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    with warnings.catch_warnings(), one_line_errors():
        warnings.simplefilter("always")
        warnings.warn_explicit("it is old", FutureWarning, "torch/x.py", 12)
        warnings.warn("x.wav is clipped", TidyVoiceWarning, stacklevel=1)
    other, own = capsys.readouterr().err.splitlines()
    assert other == "torch/x.py:12: FutureWarning: it is old"
    assert own == "warning: x.wav is clipped"


def test_many_problems_are_counted():
    assert summarise(["a", "b", "c"], limit=2) == "a; b; and 1 more"
    assert summarise(["a", "b"], limit=2) == "a; b"


def test_a_file_is_whole_or_untouched(tmp_path):
    path = tmp_path / "new" / "table"
    write_text(path, "first")

    def fail_half_way():
        with atomic_path(path) as partial:
            partial.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_half_way()
    assert path.read_text() == "first"
    assert os.listdir(path.parent) == ["table"]


def test_what_a_killed_process_left_is_removed(tmp_path):
    here = platform.node().replace(".", "-")
    dead = tmp_path / f".table.{here}.999999999-0.partial"
    others = [f".other.{here}.999999999-0.partial", ".table.elsewhere.999999999-0.partial"]
    for name in (dead.name, *others):
        (tmp_path / name).write_text("half")
    write_text(tmp_path / "table", "whole")
    assert sorted(os.listdir(tmp_path)) == [*others, "table"]


def test_threads_may_write_the_same_file(tmp_path):
    path = tmp_path / "table"
    texts = [str(number) * 200_000 for number in range(8)]

    def write(text: str) -> None:
        for _ in range(5):
            write_text(path, text)
            assert path.read_text() in texts

    with ThreadPoolExecutor(len(texts)) as pool:
        list(pool.map(write, texts))
    assert os.listdir(tmp_path) == ["table"]
