"""The Mozilla Data Collective: the real client against a server here, and a client that fails."""

import errno
import sys
from importlib.util import find_spec
from json import dumps

import pytest
from conftest import require, write_corpus

from local.fetch import fetch_dataset
from local.tidyvoice import DATASET
from tests.local.corpora import fail, pack, succeed
from tests.local.server import BaseHTTPRequestHandler, listening
from tidyvoice.data.manifest import Manifest
from tidyvoice.errors import TidyVoiceError


@pytest.fixture
def archive(tmp_path):
    """The archive as it may be there: both parts, each an archive of its own."""
    made = tmp_path / "made"
    for number, part in enumerate(("Train", "Dev")):
        write_corpus(made / part, speakers=2 + number, utterances=2, seconds=1)
        name = f"TidyVoiceX_{part}"
        pack(made / "TidyVoiceX_ASV" / f"{name}.tar.gz", made / part, name)
    return pack(tmp_path / "mdc-tidyvoicex.tar.gz", made / "TidyVoiceX_ASV", "TidyVoiceX_ASV")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="datacollective needs Python 3.11")
def test_the_real_client_fetches_and_the_command_prepares(archive, tmp_path):
    require(find_spec("datacollective") is not None, "datacollective is in the extra download")
    content, sent = archive.read_bytes(), []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path != "/file":
                details = {"id": DATASET, "filename": archive.name, "sizeBytes": len(content)}
                return self.reply(dumps(details).encode())
            start = int(self.headers.get("Range", "bytes=0-")[6:-1])
            sent.append(start)
            # The first connection drops in the middle.
            end = 150_000 if len(sent) == 1 else None
            self.reply(content[start:end], 206 if start else 200, len(content) - start)

        def do_POST(self):
            if self.headers["Authorization"] != "Bearer good":
                return self.reply(dumps({"message": "no such key"}).encode(), 401)
            address = f"http://{self.headers['Host']}/file"
            session = {"downloadUrl": address, "sizeBytes": len(content), "checksum": "abc"}
            self.reply(dumps(session).encode())

        def reply(self, body, status=200, length=None):
            self.send_response(status)
            self.send_header("Content-Length", str(length or len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    root, data = tmp_path / "corpus/TidyVoiceX_ASV", tmp_path / "data"
    command = ("tidyvoice", "--download", root.parent)
    with listening(Handler) as url:
        assert "no such key" in fail(*command, MDC_API_URL=url, MDC_API_KEY="bad")
        assert not sent
        said = succeed(*command, MDC_API_URL=url, MDC_API_KEY="good")
    assert f"mdc-tidyvoicex.tar.gz: unpacking to {root}" in said
    assert len(sent) == 2
    assert 0 == sent[0] < sent[1] <= 150_000
    for part, count in (("Train", 4), ("Dev", 6)):
        succeed("tidyvoice", "--root", root / f"TidyVoiceX_{part}", "--out", data)
        assert len(Manifest.read(data)) == count


class Failed(Exception):
    """The client's DownloadError, which wraps a cause."""

    def __init__(self, cause):
        self.__cause__ = cause


@pytest.fixture
def errors(monkeypatch):
    """Errors that the client raises, one call after the other."""
    errors = []

    def download_dataset(dataset, folder, show_progress):
        if errors:
            raise errors.pop(0)
        return f"{folder}/x.tar.gz"

    client, module = type(sys)("datacollective"), type(sys)("errors")
    client.download_dataset, module.DownloadError = download_dataset, Failed
    monkeypatch.setitem(sys.modules, "datacollective", client)
    monkeypatch.setitem(sys.modules, "datacollective.errors", module)
    return errors


def test_a_dropped_connection_is_resumed(errors, tmp_path):
    errors += [Failed(ConnectionError("reset")) for _ in range(9)]
    with pytest.raises(TidyVoiceError, match=r"datasets/abc: the download failed 5 times \(reset"):
        fetch_dataset("abc", tmp_path)
    assert fetch_dataset("abc", tmp_path / "new") == tmp_path / "new" / "x.tar.gz"
    assert not errors


@pytest.mark.parametrize("cause", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left")])
def test_an_interruption_and_a_full_disk_end_it(errors, tmp_path, cause):
    errors += [Failed(cause)]
    with pytest.raises(type(cause)) as raised:
        fetch_dataset("abc", tmp_path)
    assert raised.value is cause


def test_refusals_of_the_site_and_a_missing_client_are_one_line(errors, tmp_path, monkeypatch):
    errors += [PermissionError("agree to the terms\n  of the data set")]
    with pytest.raises(TidyVoiceError, match=r"datasets/abc: agree to the terms of the data set$"):
        fetch_dataset("abc", tmp_path)
    monkeypatch.setitem(sys.modules, "datacollective", None)
    with pytest.raises(TidyVoiceError, match=r"pip install -e '\.\[download\]'"):
        fetch_dataset("abc", tmp_path)
