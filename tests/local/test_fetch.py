"""Downloads from a server with the faults of real ones."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import small_disk

from local import fetch as module
from local.fetch import download
from tests.local.server import serving
from tidyvoice.errors import TidyVoiceError

ROOT = Path(__file__).parents[2]
BODY = bytes(range(256)) * 4096
OTHER = bytes(reversed(range(256))) * 4096
MD5 = hashlib.md5(BODY).hexdigest()


@pytest.fixture(autouse=True)
def waited(monkeypatch):
    """The seconds that were waited; the tests do not wait."""
    seconds = []
    monkeypatch.setattr(module, "time", type("time", (), {"sleep": seconds.append}))
    return seconds


def fetch(server, folder, md5=None):
    download(f"{server.url}/a.tar.gz", folder / "a.tar.gz", md5)
    return (folder / "a.tar.gz").read_bytes()


def begin(folder, content):
    """Leave a download that was interrupted after ``content``."""
    (folder / ".a.tar.gz.partial").mkdir()
    (folder / ".a.tar.gz.partial" / "a.tar.gz").write_bytes(content)


def test_a_file_is_complete_and_downloaded_once(tmp_path):
    with serving(files={"a.tar.gz": BODY}) as server:
        folder = tmp_path / "new"
        assert fetch(server, folder, MD5) == BODY
        assert fetch(server, folder, MD5) == BODY
        assert server.starts() == [None]
    assert os.listdir(folder) == ["a.tar.gz"]


def test_a_dropped_download_resumes(tmp_path):
    # More drops than attempts: each attempt brings something new.
    drops = [100_000, 1, 200_000, 5, 7, 11, 13]
    with serving(files={"a.tar.gz": BODY}, drop_after=drops.copy()) as server:
        assert fetch(server, tmp_path, MD5) == BODY
        starts = [None, *(f"bytes={sum(drops[: n + 1])}-" for n in range(len(drops)))]
        assert server.starts() == starts
    assert os.listdir(tmp_path) == ["a.tar.gz"]


@pytest.mark.parametrize(("ranges", "md5"), [(False, MD5), (True, None)])
def test_without_ranges_or_a_checksum_it_starts_again(tmp_path, ranges, md5):
    with serving(files={"a.tar.gz": BODY}, ranges=ranges, drop_after=[1000, 99, 5]) as server:
        assert fetch(server, tmp_path, md5) == BODY
        assert len(server.headers) == 4


@pytest.mark.parametrize("other", [OTHER, OTHER[:500]])
def test_a_file_that_changed_on_the_server_is_refused(tmp_path, other):
    changed = {"drop_after": [70_000], "after_drop": {"a.tar.gz": other}}
    with serving(files={"a.tar.gz": BODY}, **changed) as server:
        with pytest.raises(TidyVoiceError, match=r"the md5 .* It is deleted"):
            fetch(server, tmp_path, hashlib.md5(other).hexdigest())
        assert server.starts()[1] == "bytes=70000-"
        assert fetch(server, tmp_path, hashlib.md5(other).hexdigest()) == other


def test_a_failed_download_resumes_in_the_next_run(tmp_path):
    with serving(files={"a.tar.gz": BODY}, drop_after=[900, 0, 0, 0, 0, 0]) as server:
        with pytest.raises(TidyVoiceError, match=r"1,047,676 bytes are missing, after 5 attempts"):
            fetch(server, tmp_path, MD5)
        server.drop_after.clear()
        assert fetch(server, tmp_path, MD5) == BODY
        assert server.starts()[-1] == "bytes=900-"


def test_a_complete_download_is_not_repeated(tmp_path):
    begin(tmp_path, BODY)
    with serving(files={"a.tar.gz": BODY}) as server:
        assert fetch(server, tmp_path, MD5) == BODY
        assert server.starts() == [f"bytes={len(BODY)}-"]


def test_temporary_failures_are_retried_and_refusals_are_not(tmp_path, waited):
    with serving(files={"a.tar.gz": BODY}, failures=[503, 429, 500]) as server:
        assert fetch(server, tmp_path) == BODY
    assert waited == [1, 2, 4]
    folder = tmp_path / "b"
    busy = pytest.raises(TidyVoiceError, match=r"HTTP 503 .* after 5 attempts")
    with serving(files={"a.tar.gz": BODY}, failures=[503] * 5) as server, busy:
        fetch(server, folder)
    with serving(files={}) as server:
        with pytest.raises(TidyVoiceError, match=r"a\.tar\.gz: HTTP 404 Not Found"):
            fetch(server, folder)
        assert len(server.headers) == 1
    with pytest.raises(TidyVoiceError, match=r"refused.* after 5 attempts"):
        fetch(server, folder)
    with pytest.raises(TidyVoiceError, match="begins with http"):
        download("file:///etc/passwd", folder / "x")
    assert os.listdir(folder) == []


def test_another_checksum_is_refused(tmp_path):
    message = f"the md5 {hashlib.md5(OTHER).hexdigest()}, expected {MD5}"
    with serving(files={"a.tar.gz": OTHER}) as server:
        with pytest.raises(TidyVoiceError, match=message):
            fetch(server, tmp_path, MD5)
        assert os.listdir(tmp_path) == []
        # A file of the user is named and kept.
        (tmp_path / "a.tar.gz").write_bytes(OTHER)
        with pytest.raises(TidyVoiceError, match=rf"a\.tar\.gz has {message}. Delete it"):
            fetch(server, tmp_path, MD5)
        assert os.listdir(tmp_path) == ["a.tar.gz"]


def test_a_web_page_is_refused_and_costs_nothing(tmp_path):
    begin(tmp_path, BODY[:900])
    page = {"a.tar.gz": b"<html>please log in</html>"}
    with serving(files=page, kind="text/html; charset=utf-8", ranges=False) as server:
        with pytest.raises(TidyVoiceError, match=r"a\.tar\.gz is a web page"):
            fetch(server, tmp_path, MD5)
        server.files, server.kind, server.ranges = {"a.tar.gz": BODY}, "application/gzip", True
        assert fetch(server, tmp_path, MD5) == BODY
        assert server.starts()[-1] == "bytes=900-"


def test_two_at_once_do_not_mix_and_a_killed_one_is_resumed(tmp_path):
    code = "import sys; from local.fetch import download; download(*sys.argv[1:])"  # url, out, md5
    with serving(files={"a.tar.gz": BODY}, drop_after=[300_000] + [0] * 50) as server:
        command = [sys.executable, "-c", code, f"{server.url}/a.tar.gz", tmp_path / "a.tar.gz"]
        command.append(MD5)
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while len(server.headers) < 2:  # it has the first bytes, and waits to try again
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with pytest.raises(TidyVoiceError, match="another process is writing"):
            fetch(server, tmp_path)
        process.send_signal(signal.SIGKILL)
        process.wait(20)
        server.drop_after.clear()
        assert fetch(server, tmp_path, MD5) == BODY
        start = server.starts()[-1]
        assert start is None or int(start[6:-1]) <= 300_000
    assert os.listdir(tmp_path) == ["a.tar.gz"]


def test_a_full_disk_is_an_error(tmp_path):
    with small_disk(tmp_path / "disk", "300k"), serving(files={"a.tar.gz": BODY}) as server:
        with pytest.raises(OSError, match="No space left"):
            fetch(server, tmp_path / "disk")
        assert "a.tar.gz" not in os.listdir(tmp_path / "disk")
