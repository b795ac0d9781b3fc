"""MUSAN and RIRS_NOISES: fetched, unpacked, prepared."""

import hashlib
import importlib
import os
from dataclasses import replace

import pytest
from conftest import write_sounds

from local.sounds import prepare
from tests.local.corpora import fail, pack, succeed, write_wav
from tests.local.server import serving
from tidyvoice.data.manifest import Manifest, check
from tidyvoice.terms import TERMS

# Command: archive, top folder in it, folder of the kinds in that.
COLLECTIONS = {
    "musan": ("musan.tar.gz", "musan", ""),
    "rirs": ("rirs_noises.zip", "RIRS_NOISES", "simulated_rirs"),
}


@pytest.fixture(params=COLLECTIONS)
def collection(request, tmp_path):
    """The module and its archive, in which there is more than the sounds."""
    archive, top, below = COLLECTIONS[request.param]
    module = importlib.import_module(f"local.{request.param}")
    write_sounds(tmp_path / "made" / top / below, module.KINDS, seconds=0.3)
    (tmp_path / "made" / top / "README").write_text("licence")
    return module, pack(tmp_path / archive, tmp_path / "made" / top, top)


def run(module, archive, *arguments):
    """The command as it is, but for the checksum."""
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    folder = COLLECTIONS[module.__name__.removeprefix("local.")][1]
    prepare("test", "", module.KINDS, folder, replace(module.REMOTE, md5=md5), arguments)


def test_published_addresses_and_checksums():
    musan, rirs = importlib.import_module("local.musan"), importlib.import_module("local.rirs")
    assert (musan.REMOTE.url, musan.REMOTE.file, musan.REMOTE.md5) == (
        "https://www.openslr.org/resources/17",
        "musan.tar.gz",
        "0c472d4fc0c5141eca47ad1ffeb2a7df",
    )
    assert (rirs.REMOTE.url, rirs.REMOTE.file, rirs.REMOTE.md5) == (
        "https://www.openslr.org/resources/28",
        "rirs_noises.zip",
        "e6f48e257286e05de56413b4779d8ffb",
    )


def test_one_command_fetches_unpacks_and_prepares(collection, tmp_path, capsys):
    module, archive = collection
    corpus, data = tmp_path / "corpus", tmp_path / "data"
    with serving(files={archive.name: archive.read_bytes()}, drop_after=[500]) as server:
        command = ("--download", corpus, "--url", server.url + "/", "--out", data)
        run(module, archive, *map(str, command))
        assert Manifest.read(data).speakers() == sorted(module.KINDS)
        assert check(data) == []
        assert len(server.headers) == 2
        # Again, with the archive kept, then deleted: nothing more is downloaded.
        run(module, archive, *map(str, command))
        (corpus / archive.name).unlink()
        run(module, archive, "--download", str(corpus))
        assert len(server.headers) == 2
    said = capsys.readouterr().out
    assert f"{len(module.KINDS) * 2} files, 2 s" in said
    assert TERMS[COLLECTIONS[module.__name__.removeprefix("local.")][1]] in said
    assert os.listdir(corpus) == [COLLECTIONS[module.__name__.removeprefix("local.")][1]]


@pytest.mark.parametrize(
    ("name", "licence"),
    [
        ("tidyvoice", "forbid determining who a speaker is"),
        ("tidyvoice_eval", "forbid determining who a speaker is"),
        ("voxceleb1", "CC BY 4.0"),
        ("voxceleb2", "CC BY 4.0"),
        ("voxblink2", "CC BY-NC-SA"),
        ("musan", "CC BY and public domain"),
        ("rirs", "Apache-2.0"),
    ],
)
def test_each_corpus_tells_its_licence(name, licence):
    assert licence in " ".join(succeed(name, "--help").split())


def test_what_is_not_the_published_archive_is_refused(collection, tmp_path):
    module, archive = collection
    name = module.__name__.removeprefix("local.")
    where = ("--download", tmp_path / "corpus", "--out", tmp_path / "data")
    with serving(files={archive.name: archive.read_bytes()}) as server:
        line = fail(name, *where, "--url", server.url)
        assert f"{archive.name}.partial has the md5" in line
        assert f"expected {module.REMOTE.md5}: it is deleted" in line
        server.kind = "text/html"
        assert "is a web page" in fail(name, *where, "--url", server.url)
    assert os.listdir(tmp_path / "corpus") == []
    assert not (tmp_path / "data").exists()


def test_an_archive_or_a_folder_on_the_disk_serves(collection, tmp_path):
    module, archive = collection
    name = module.__name__.removeprefix("local.")
    root = tmp_path / "elsewhere"
    said = succeed(name, "--archive", archive, "--root", root, "--out", tmp_path / "data")
    assert f"{root}: unpacked {archive.name}" in said
    succeed(name, "--root", root, "--out", tmp_path / "again")
    assert Manifest.read(tmp_path / "again").table.equals(Manifest.read(tmp_path / "data").table)
    archive.write_bytes(archive.read_bytes()[:-400])
    line = fail(name, "--archive", archive, "--root", tmp_path / "new", "--out", tmp_path / "x")
    assert f"{archive} is damaged, cut short" in line
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "x"], "--root: give the folder of the corpus, or --download DIR"),
        (["--root", "nowhere"], "--out: give the data folder"),
        (["--root", "nowhere", "--out", "x"], "missing: nowhere/noise, nowhere/music"),
        (["--root", "a", "--download", "b", "--out", "x"], "leave --root and --archive out"),
        (["--root", "a", "--url", "http://x", "--out", "x"], "--url: comes with --download"),
        (["--archive", "a.zip", "--root", "/nowhere/b"], "a.zip is missing: give the archive"),
    ],
)
def test_options_that_do_not_go_together_are_named(arguments, message):
    assert message in fail("musan", *arguments)


def test_a_folder_that_was_unpacked_by_hand_is_not_fetched_again(tmp_path):
    write_wav(tmp_path / "musan" / "noise" / "free-sound" / "a.wav")
    with serving(files={}) as server:
        said = succeed("musan", "--download", tmp_path, "--url", server.url)
        assert not server.headers
    assert f"{tmp_path / 'musan'} is there already" in said
