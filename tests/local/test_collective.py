"""The Mozilla Data Collective: the real client against a server here, and a client that fails."""

import errno
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from json import dumps
from threading import Thread
from types import ModuleType, SimpleNamespace

import pytest
from conftest import require, write_corpus

from local.collective import fetch_dataset
from local.tidyvoice import DATASET
from tests.local.corpora import fail, pack, succeed
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


@pytest.fixture
def site(archive):
    """The parts of the site's interface that the client uses; it counts what is sent."""
    content, sent, keys = archive.read_bytes(), [], []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/file":
                start = int(self.headers.get("Range", "bytes=0-")[6:-1])
                sent.append(start)
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(content) - start))
                self.end_headers()
                # The first connection drops in the middle.
                self.wfile.write(content[start : 150_000 if len(sent) == 1 else None])
            else:
                self.reply({"id": DATASET, "filename": archive.name, "sizeBytes": len(content)})

        def do_POST(self):
            keys.append(self.headers["Authorization"])
            if keys[-1] != "Bearer good":
                self.reply({"message": "no such key"}, 401)
                return
            address = f"http://{self.headers['Host']}/file"
            size = {"sizeBytes": len(content), "checksum": "abc"}
            self.reply({"downloadUrl": address, **size})

        def reply(self, answer, status=200):
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(dumps(answer).encode())

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield SimpleNamespace(url=f"http://127.0.0.1:{server.server_address[1]}", sent=sent, keys=keys)
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="datacollective needs Python 3.11")
def test_the_real_client_fetches_and_the_command_prepares(site, tmp_path):
    require(find_spec("datacollective") is not None, "datacollective is in the extra download")
    corpus = tmp_path / "corpus"
    command = ("tidyvoice", "--download", corpus, "--subset", "TidyVoiceX_Train")
    there = {"MDC_API_URL": site.url}
    line = fail(*command, "--out", tmp_path / "x", MDC_API_KEY="bad", **there)
    assert "no such key" in line
    assert not site.sent
    said = succeed(*command, "--out", tmp_path / "data", MDC_API_KEY="good", **there)
    assert f"{corpus / 'TidyVoiceX_ASV'}: unpacked mdc-tidyvoicex.tar.gz" in said
    assert len(site.sent) == 2
    assert 0 == site.sent[0] < site.sent[1] <= 150_000
    assert len(Manifest.read(tmp_path / "data")) == 4
    # The second part needs neither network nor key, and goes by the plain root.
    root = corpus / "TidyVoiceX_ASV"
    succeed(
        "tidyvoice", "--download", corpus, "--subset", "TidyVoiceX_Dev", "--out", tmp_path / "a"
    )
    succeed("tidyvoice", "--root", root / "TidyVoiceX_Dev", "--out", tmp_path / "b")
    assert Manifest.read(tmp_path / "a").table.equals(Manifest.read(tmp_path / "b").table)
    assert len(Manifest.read(tmp_path / "a")) == 6
    assert len(site.sent) == 2


class Failed(Exception):
    """The client's DownloadError."""


@pytest.fixture
def client(monkeypatch, tmp_path):
    """A client of the same interface, whose download fails with ``causes``, one by one."""
    state = SimpleNamespace(causes=[], calls=[], size=4, details=None)

    def get_dataset_details(dataset):
        if state.details:
            raise state.details
        return {"id": dataset, "sizeBytes": state.size}

    def download_dataset(dataset, folder, show_progress):
        state.calls.append((dataset, folder, show_progress))
        if state.causes:
            raise Failed from state.causes.pop(0)
        path = os.path.join(folder, "x.tar.gz")
        with open(path, "wb") as file:
            file.write(b"data")
        return path

    module, errors = ModuleType("datacollective"), ModuleType("datacollective.errors")
    module.get_dataset_details, module.download_dataset = get_dataset_details, download_dataset
    errors.DownloadError = Failed
    monkeypatch.setitem(sys.modules, "datacollective", module)
    monkeypatch.setitem(sys.modules, "datacollective.errors", errors)
    monkeypatch.setenv("MDC_API_KEY", "good")
    return state


def test_a_dropped_connection_is_resumed(client, tmp_path):
    client.causes = [ConnectionError("reset")] * 4
    assert fetch_dataset("abc", tmp_path / "new") == tmp_path / "new" / "x.tar.gz"
    assert client.calls == [("abc", str(tmp_path / "new"), False)] * 5
    client.causes = [ConnectionError("reset by peer")] * 5
    with pytest.raises(TidyVoiceError, match=r"datasets/abc: the download failed 5 times \(reset"):
        fetch_dataset("abc", tmp_path)


def test_an_interruption_and_a_full_disk_end_it(client, tmp_path):
    client.causes = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        fetch_dataset("abc", tmp_path)
    client.causes = [OSError(errno.ENOSPC, "No space left on device", "x.part")]
    with pytest.raises(OSError, match="No space left"):
        fetch_dataset("abc", tmp_path)
    assert len(client.calls) == 2


@pytest.mark.parametrize("error", [PermissionError, RuntimeError, ValueError])
def test_refusals_of_the_site_are_one_line(client, tmp_path, error):
    client.details = error("agree to the terms\n  of the data set")
    with pytest.raises(TidyVoiceError, match=r"datasets/abc: agree to the terms of the data set$"):
        fetch_dataset("abc", tmp_path)


def test_an_archive_of_another_size_is_refused(client, tmp_path):
    client.size = 5
    with pytest.raises(TidyVoiceError, match=r"x\.tar\.gz has 4 bytes, expected 5"):
        fetch_dataset("abc", tmp_path)


def test_a_missing_key_or_client_is_an_error_that_says_where_to_get_it(
    client, tmp_path, monkeypatch
):
    monkeypatch.delenv("MDC_API_KEY")
    page = rf"mozilladatacollective\.com/datasets/{DATASET}, .*/api-reference"
    with pytest.raises(TidyVoiceError, match=page):
        fetch_dataset(DATASET, tmp_path)
    assert not client.calls
    monkeypatch.setitem(sys.modules, "datacollective", None)
    with pytest.raises(
        TidyVoiceError, match=r"3\.11 or newer run: pip install -e '\.\[download\]'"
    ):
        fetch_dataset("abc", tmp_path)
