"""The client of the Mozilla Data Collective, against a server here and with failures."""

import errno
import sys
from json import dumps
from unittest.mock import Mock

import pytest
from conftest import refused, require, write_corpus

from local.fetch import fetch_dataset
from tests.local.corpora import fail, pack, succeed
from tests.local.server import BaseHTTPRequestHandler, ThreadingHTTPServer, listening
from tidyvoice.data.manifest import Manifest
from tidyvoice.errors import TidyVoiceError

try:
    import datacollective
    from datacollective.errors import DownloadError
except ImportError:
    require(sys.version_info < (3, 11), "datacollective is in the extra download")
    pytest.skip("datacollective needs Python 3.11", allow_module_level=True)


def write_archive(folder):
    """The archive as it may be there: both parts, each an archive of its own."""
    for speakers, name in enumerate(("TidyVoiceX_Train", "TidyVoiceX_Dev"), 2):
        write_corpus(folder / name, speakers, utterances=2, seconds=1)
        pack(folder / "TidyVoiceX_ASV" / f"{name}.tar.gz", folder / name, name)
    return pack(folder / "mdc-tidyvoicex.tar.gz", folder / "TidyVoiceX_ASV", "TidyVoiceX_ASV")


def test_it_fetches_and_the_command_prepares(tmp_path):
    archive = write_archive(tmp_path / "made")
    content, sent = archive.read_bytes(), []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path != "/file":
                return self.reply({"id": "x", "filename": archive.name, "sizeBytes": len(content)})
            start = int(self.headers.get("Range", "bytes=0-")[6:-1])
            sent.append(start)
            # The first connection drops in the middle.
            body = content[start : 150_000 if len(sent) == 1 else None]
            self.send(body, 206 if start else 200, len(content) - start)

        def do_POST(self):
            if self.headers["Authorization"] != "Bearer good":
                return self.reply({"message": "no such key"}, 401)
            address = f"http://{self.headers['Host']}/file"
            self.reply({"downloadUrl": address, "sizeBytes": len(content), "checksum": "abc"})

        def reply(self, answer, status=200):
            body = dumps(answer).encode()
            self.send(body, status, len(body))

        def send(self, body, status, length):
            self.send_response(status)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    root, data = tmp_path / "corpus/TidyVoiceX_ASV", tmp_path / "data"
    command = ("tidyvoice", "--download", root.parent)
    with listening(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as url:
        assert "no such key" in fail(*command, MDC_API_URL=url, MDC_API_KEY="bad")
        said = succeed(*command, MDC_API_URL=url, MDC_API_KEY="good")
    assert f"mdc-tidyvoicex.tar.gz: unpacking to {root}" in said
    assert len(sent) == 2
    assert 0 == sent[0] < sent[1] <= 150_000
    for part, count in (("Train", 4), ("Dev", 6)):
        succeed("tidyvoice", "--root", root / f"TidyVoiceX_{part}", "--out", data)
        assert len(Manifest.read(data)) == count


def failed(cause):
    error = DownloadError(0, 0, 1, None)
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "raised", "calls"),
    [
        (failed(ConnectionError("reset")), "datasets/abc: the download failed 5 times .reset", 5),
        (failed(KeyboardInterrupt("c")), "c", 1),
        (failed(OSError(errno.ENOSPC, "No space")), "No space", 1),
        (PermissionError("agree to\n  the terms"), "datasets/abc: agree to the terms$", 1),
    ],
)
def test_failures(error, raised, calls, tmp_path, monkeypatch):
    client = Mock(side_effect=error)
    monkeypatch.setattr(datacollective, "download_dataset", client)
    pauses = Mock()
    monkeypatch.setattr("local.fetch.time.sleep", pauses)
    kind = TidyVoiceError if "abc" in raised else type(error.__cause__)
    with pytest.raises(kind, match=raised):
        fetch_dataset("abc", tmp_path)
    assert client.call_count == calls == pauses.call_count + 1


def test_a_missing_client_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datacollective", None)
    assert "pip install -e '.[download]'" in refused(fetch_dataset, "abc", tmp_path)
