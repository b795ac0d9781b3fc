"""MUSAN and RIRS_NOISES: fetched, unpacked, prepared."""

import hashlib
import importlib
import os
import sys

import pytest
from conftest import write_sounds

from local import mini
from local.sounds import prepare
from tests.local.corpora import fail, pack, succeed
from tests.local.server import serving
from tidyvoice.data.manifest import Manifest, check, terms_of

# Command: archive, top folder in it, folder of the kinds in that.
COLLECTIONS = {
    "musan": ("musan.tar.gz", "musan", ""),
    "rirs": ("rirs_noises.zip", "RIRS_NOISES", "simulated_rirs"),
}


@pytest.fixture(params=COLLECTIONS)
def collection(request, tmp_path):
    """The module of the command, and the archive, in which there is more than the sounds."""
    archive, top, below = COLLECTIONS[request.param]
    module = importlib.import_module(f"local.{request.param}")
    write_sounds(tmp_path / "made" / top / below, module.KINDS, seconds=0.3)
    (tmp_path / "made" / top / "README").write_text("licence")
    return module, pack(tmp_path / archive, tmp_path / "made" / top, top)


def test_one_command_fetches_unpacks_and_prepares(collection, tmp_path, capsys, monkeypatch):
    module, archive = collection
    name = module.__name__.removeprefix("local.")
    folder = COLLECTIONS[name][1]
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    corpus, data = tmp_path / "corpus", tmp_path / "data"
    with serving(files={archive.name: archive.read_bytes()}, drop_after=[500]) as server:
        for _ in range(2):  # the second time, nothing more is downloaded
            options = f"--download {corpus} --url {server.url}/{archive.name} --out {data}"
            monkeypatch.setattr(sys, "argv", ["", *options.split()])
            prepare(name, "", module.TERMS, module.KINDS, folder, module.URL, md5)
            assert len(server.starts) == 2
            (corpus / archive.name).unlink(missing_ok=True)
    assert Manifest.read(data).speakers() == sorted(module.KINDS)
    assert check(data) == []
    assert f"{len(module.KINDS) * 2} files, 2 s" in capsys.readouterr().out
    assert terms_of(data) == [module.TERMS]
    assert os.listdir(corpus) == [folder]


@pytest.mark.parametrize("name", ["tidyvoice", "voxceleb1", "voxceleb2", "voxblink2", "rirs"])
def test_each_corpus_tells_its_licence(name):
    terms = importlib.import_module(f"local.{name}").TERMS
    assert f"Licence: {terms}" in " ".join(succeed(name, "--help").split())


def test_a_folder_on_the_disk_serves(collection, tmp_path):
    """Here one of the built-in corpus, which has its own terms."""
    name = collection[0].__name__.removeprefix("local.")
    (tmp_path / "made" / "corpus.json").write_text("{}")
    output = succeed(name, "--root", tmp_path / "made", "--out", tmp_path / "data")
    assert output.startswith(mini.TERMS)
    assert terms_of(tmp_path / "data") == [mini.TERMS]
    assert len(Manifest.read(tmp_path / "data")) == 6
    line = fail(name, "--root", tmp_path / "made/nowhere", "--out", tmp_path / "x")
    assert "made/nowhere contains no folders" in line
