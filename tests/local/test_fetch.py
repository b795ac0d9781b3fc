"""Downloads from a server with the faults of real ones."""

import hashlib
import os

import pytest
from conftest import small_disk

from local import fetch as module
from local.fetch import download
from tests.local.server import serving
from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import only_writer

BODY = bytes(range(256)) * 4096
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


def test_a_dropped_download_resumes_and_is_downloaded_once(tmp_path):
    # More drops than attempts: each attempt brings something new.
    drops = [100_000, 1, 200_000, 5, 7, 11, 13]
    folder = tmp_path / "new"
    with serving(files={"a.tar.gz": BODY}, drop_after=drops.copy()) as server:
        for _ in range(2):
            assert fetch(server, folder, MD5) == BODY
        starts = [None, *(f"bytes={sum(drops[: n + 1])}-" for n in range(len(drops)))]
        assert server.starts == starts
    assert os.listdir(folder) == ["a.tar.gz"]


@pytest.mark.parametrize(("ranges", "md5"), [(False, MD5), (True, None)])
def test_without_ranges_or_a_checksum_it_starts_again(tmp_path, ranges, md5):
    with serving(files={"a.tar.gz": BODY}, ranges=ranges, drop_after=[1000, 99, 5]) as server:
        assert fetch(server, tmp_path, md5) == BODY
        assert len(server.starts) == 4


def test_a_failed_download_resumes_in_the_next_run(tmp_path):
    with serving(files={"a.tar.gz": BODY}, drop_after=[900, 0, 0, 0, 0, 0]) as server:
        with pytest.raises(TidyVoiceError, match=r"1,047,676 bytes are missing"):
            fetch(server, tmp_path, MD5)
        server.kind = "text/html; charset=utf-8"
        with pytest.raises(TidyVoiceError, match=r"a\.tar\.gz is a web page"):
            fetch(server, tmp_path, MD5)
        server.kind = "application/gzip"
        server.drop_after.clear()
        assert fetch(server, tmp_path, MD5) == BODY
        assert server.starts[-1] == "bytes=900-"


def test_a_complete_download_is_not_repeated(tmp_path):
    (tmp_path / ".a.tar.gz.partial").mkdir()
    (tmp_path / ".a.tar.gz.partial/a.tar.gz").write_bytes(BODY)
    with serving(files={"a.tar.gz": BODY}) as server:
        assert fetch(server, tmp_path, MD5) == BODY
        assert server.starts == [f"bytes={len(BODY)}-"]


def test_temporary_failures_are_retried_and_refusals_are_not(tmp_path, waited):
    with serving(files={"a.tar.gz": BODY}, failures=[503, 429, 500]) as server:
        assert fetch(server, tmp_path) == BODY
        assert waited == [1, 2, 4]
        server.failures = [503] * 5
        with pytest.raises(TidyVoiceError, match=r"a\.tar\.gz: HTTP Error 503"):
            fetch(server, tmp_path / "b")
        server.files.clear()
        server.starts.clear()
        with pytest.raises(TidyVoiceError, match=r"a\.tar\.gz: HTTP Error 404"):
            fetch(server, tmp_path / "b")
        assert len(server.starts) == 1


def test_another_checksum_is_refused(tmp_path):
    with serving(files={"a.tar.gz": BODY[::-1]}) as server:
        with pytest.raises(TidyVoiceError, match=rf"a\.tar\.gz has the md5 .*, expected {MD5}"):
            fetch(server, tmp_path, MD5)
        assert not (tmp_path / "a.tar.gz").exists()
        (tmp_path / "a.tar.gz").write_bytes(BODY[:-1])
        with pytest.raises(TidyVoiceError, match=f"expected {MD5}"):
            fetch(server, tmp_path, MD5)


def test_two_at_once_do_not_mix(tmp_path):
    other = only_writer(tmp_path / ".a.tar.gz.partial")
    busy = pytest.raises(TidyVoiceError, match="another process is writing")
    with serving(files={"a.tar.gz": BODY}) as server, other, busy:
        fetch(server, tmp_path)


def test_a_full_disk_is_an_error(tmp_path):
    with small_disk(tmp_path / "disk", "300k"), serving(files={"a.tar.gz": BODY}) as server:
        with pytest.raises(OSError, match="No space left"):
            fetch(server, tmp_path / "disk")
        assert "a.tar.gz" not in os.listdir(tmp_path / "disk")
