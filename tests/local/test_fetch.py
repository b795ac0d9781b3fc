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


@pytest.fixture
def server():
    with serving(files={"a.tar.gz": BODY}) as server:
        yield server


def fetch(server, folder, md5=None):
    download(f"{server.url}/a.tar.gz", folder / "a.tar.gz", md5)
    return (folder / "a.tar.gz").read_bytes()


def refused(server, folder, message, md5=None):
    with pytest.raises(TidyVoiceError, match=message):
        fetch(server, folder, md5)
    assert not (folder / "a.tar.gz").exists()


def test_a_dropped_download_resumes_and_is_downloaded_once(server, tmp_path):
    # More drops than attempts: each attempt brings something new.
    drops = [100_000, 1, 200_000, 5, 7, 11, 13]
    server.drop_after += drops
    for _ in range(2):
        assert fetch(server, tmp_path / "new", MD5) == BODY
    starts = [None, *(f"bytes={sum(drops[: n + 1])}-" for n in range(len(drops)))]
    assert server.starts == starts
    assert os.listdir(tmp_path / "new") == ["a.tar.gz"]


@pytest.mark.parametrize(("ranges", "md5"), [(False, MD5), (True, None)])
def test_without_ranges_or_a_checksum_it_starts_again(server, tmp_path, ranges, md5):
    server.ranges, server.drop_after = ranges, [1000, 99, 5]
    assert fetch(server, tmp_path, md5) == BODY
    assert len(server.starts) == 4


def test_a_failed_download_resumes_in_the_next_run(server, tmp_path):
    server.drop_after = [900, 0, 0, 0, 0, 0]
    refused(server, tmp_path, r"1,047,676 bytes are missing", MD5)
    server.kind = "text/html; charset=utf-8"
    refused(server, tmp_path, r"a\.tar\.gz is a web page", MD5)
    server.kind, server.drop_after = "application/gzip", []
    assert fetch(server, tmp_path, MD5) == BODY
    assert server.starts[-1] == "bytes=900-"


def test_a_complete_download_is_not_repeated(server, tmp_path):
    (tmp_path / ".a.tar.gz.partial").mkdir()
    (tmp_path / ".a.tar.gz.partial/a.tar.gz").write_bytes(BODY)
    assert fetch(server, tmp_path, MD5) == BODY
    assert server.starts == [f"bytes={len(BODY)}-"]


def test_temporary_failures_are_retried_and_refusals_are_not(server, tmp_path, waited):
    server.failures = [503, 429, 500]
    assert fetch(server, tmp_path / "a") == BODY
    assert waited == [1, 2, 4]
    server.failures = [503] * 5 + [404]
    refused(server, tmp_path, r"a\.tar\.gz: HTTP Error 503")
    refused(server, tmp_path, r"a\.tar\.gz: HTTP Error 404")
    assert len(server.starts) == 4 + 5 + 1
    with pytest.raises(TidyVoiceError, match="file:///a: give an address"):
        download("file:///a", tmp_path / "b")


def test_another_checksum_and_a_second_process_are_refused(server, tmp_path):
    server.files = {"a.tar.gz": BODY[::-1]}
    refused(server, tmp_path, rf"a\.tar\.gz has the md5 .*, expected {MD5}", MD5)
    with only_writer(tmp_path / ".a.tar.gz.partial"):
        refused(server, tmp_path, "another process is writing", MD5)
    (tmp_path / "a.tar.gz").write_bytes(BODY[:-1])
    with pytest.raises(TidyVoiceError, match=f"expected {MD5}"):
        fetch(server, tmp_path, MD5)


def test_a_full_disk_is_an_error(server, tmp_path):
    with small_disk(tmp_path / "disk", "300k"):
        refused(server, tmp_path / "disk", r"1,048,576 bytes, but the disk has .*: make room")


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"Content-Length": None}, r"a\.tar\.gz does not end"),
        ({"Location": "file:///etc/passwd"}, "HTTP Error 302"),
        ({"Location": "ftp://localhost/a"}, "leads to ftp://localhost/a"),
        ({"Location": "http://[/a"}, "Invalid IPv6 URL"),
    ],
)
def test_an_answer_without_end_and_other_schemes_are_refused(
    server, tmp_path, monkeypatch, headers, message
):
    monkeypatch.setattr(module, "LARGEST", len(BODY) // 2)
    monkeypatch.setattr(module, "BLOCK", len(BODY) // 8)
    server.headers = headers
    refused(server, tmp_path, message)
