"""MUSAN and RIRS_NOISES: fetched, unpacked, prepared."""

import hashlib
import importlib
import os
from dataclasses import replace

import pytest
from conftest import write_sounds

from local import mini
from local.sounds import prepare
from tests.local.corpora import fail, pack, succeed, write_wav
from tests.local.server import serving
from tidyvoice.data.manifest import Manifest, check, terms_of

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
    remote = replace(module.REMOTE, md5=md5)
    prepare("test", "", module.TERMS, module.KINDS, folder, remote, list(map(str, arguments)))


def test_one_command_fetches_unpacks_and_prepares(collection, tmp_path, capsys):
    module, archive = collection
    corpus, data = tmp_path / "corpus", tmp_path / "data"
    with serving(files={archive.name: archive.read_bytes()}, drop_after=[500]) as server:
        command = ("--download", corpus, "--url", server.url + "/", "--out", data)
        run(module, archive, *command)
        assert Manifest.read(data).speakers() == sorted(module.KINDS)
        assert check(data) == []
        assert len(server.headers) == 2
        # Again, with the archive kept, then deleted: nothing more is downloaded.
        run(module, archive, *command)
        (corpus / archive.name).unlink()
        run(module, archive, "--download", corpus)
        assert len(server.headers) == 2
    output = capsys.readouterr().out
    assert f"{len(module.KINDS) * 2} files, 2 s" in output
    assert module.TERMS in output
    assert terms_of(data) == [module.TERMS]
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
        assert f"/{archive.name} has the md5" in line
        assert f"expected {module.REMOTE.md5}" in line
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
    assert f"{archive} is damaged" in line
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "x"], "--root: give the folder of the corpus, or --download DIR"),
        (["--root", "nowhere"], "--out: give the data folder"),
        (["--root", "nowhere", "--out", "x"], "missing: nowhere/noise, nowhere/music"),
        (["--root", "a", "--download", "b", "--out", "x"], "leave --root and --archive out"),
        (["--root", "a", "--url", "http://x", "--out", "x"], "--url: give --download"),
        (["--archive", "a.zip", "--root", "/nowhere/b"], "a.zip is missing"),
    ],
)
def test_options_that_exclude_each_other_are_named(arguments, message):
    assert message in fail("musan", *arguments)


def test_an_existing_folder_is_not_downloaded_again(tmp_path):
    write_wav(tmp_path / "musan" / "noise" / "free-sound" / "a.wav")
    with serving(files={}) as server:
        output = succeed("musan", "--download", tmp_path, "--url", server.url)
        assert not server.headers
    assert f"{tmp_path / 'musan'} exists already" in output


def test_the_built_in_corpus_has_its_own_terms(collection, tmp_path):
    module, _ = collection
    (tmp_path / "made" / "corpus.json").write_text("{}")
    name = module.__name__.removeprefix("local.")
    output = succeed(name, "--root", tmp_path / "made", "--out", tmp_path / "data")
    assert output.startswith(mini.TERMS)
    assert terms_of(tmp_path / "data") == [mini.TERMS]
