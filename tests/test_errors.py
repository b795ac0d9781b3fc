import contextlib
import errno
import os
import platform
import signal
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

from tidyvoice.errors import TidyVoiceError, TidyVoiceWarning, one_line_errors
from tidyvoice.files import atomic_path, write_text


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (TidyVoiceError("x.yaml: no key"), 1, "error: x.yaml: no key"),
        (KeyboardInterrupt(), 130, "interrupted: finished work is kept; run the same command ag"),
        (OSError(errno.ENOSPC, "No", "exp/model.pt"), 1, "error: the disk is full: exp/model.pt;"),
        (PermissionError(errno.EACCES, "Denied", "/data/x"), 1, "error: Denied: /data/x"),
        (FileNotFoundError("no index"), 1, "error: no index"),
    ],
)
def test_an_error_ends_in_one_line(capsys, error, status, message):
    with pytest.raises(SystemExit) as stopped, one_line_errors():
        raise error
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert stopped.value.code == status
    assert line.startswith(message)


def test_sigterm_is_an_interruption_and_a_defect_keeps_its_traceback():
    with pytest.raises(SystemExit, match="130"), one_line_errors():
        signal.raise_signal(signal.SIGTERM)
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


def test_a_file_is_whole_or_untouched(tmp_path):
    path = tmp_path / "new" / "table"
    write_text(path, "first")
    with contextlib.suppress(KeyboardInterrupt), atomic_path(path) as partial:
        partial.write_text("half")
        raise KeyboardInterrupt
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


def test_a_link_to_a_device_is_not_replaced():
    with pytest.raises(TidyVoiceError, match="/dev/stdout is a device"):
        write_text("/dev/stdout", "text")


def test_threads_may_write_the_same_file(tmp_path):
    path = tmp_path / "table"
    texts = [str(number % 8) * 200_000 for number in range(40)]

    def write(text: str) -> None:
        write_text(path, text)
        assert path.read_text() in texts

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, texts))
    assert os.listdir(tmp_path) == ["table"]
