"""VoxCeleb1: lists in both forms, fetched or there, and the utterances that they name."""

import os
import shutil

import pytest

from local import voxceleb1
from local.voxceleb1 import LISTS, PublishedList, main
from tests.local.corpora import call, fail, pack, write_wav
from tests.local.server import serving
from tidyvoice.data.manifest import Manifest, check
from tidyvoice.errors import TidyVoiceError, TidyVoiceWarning
from tidyvoice.scoring.trials import read_trials

UTTERANCES = [
    f"id1027{speaker}/5r0dWxy17C{video}/0000{n}.wav"
    for speaker in range(3)
    for video in (7, 8)
    for n in (1, 2)
]
A, B, C, D, E = UTTERANCES[0], UTTERANCES[1], UTTERANCES[4], UTTERANCES[5], UTTERANCES[8]
ORIGINAL = {
    "veri_test2.txt": f"1 {A} {B}\n0 {A} {C}\n",
    "list_test_all2.txt": f"1 {C} {D}\n0 {A} {E}\n",
    "list_test_hard2.txt": f"0 {B} {D}\n",
}
KALDI = {"vox1_O_cleaned.kaldi": f"{A} {B} target\n{A} {C} nontarget\n"}


@pytest.fixture
def root(tmp_path):
    for name in UTTERANCES:
        write_wav(tmp_path / "vox1" / "wav" / name)
    return tmp_path / "vox1"


@pytest.fixture
def lists(tmp_path):
    (tmp_path / "lists").mkdir()
    return tmp_path / "lists"


def run(root, lists, out, *arguments):
    with pytest.warns(TidyVoiceWarning, match="the published list has"):
        main(["--root", str(root), "--lists", str(lists), "--out", str(out), *arguments])


def test_lists_are_fetched_and_name_the_utterances(root, lists, tmp_path):
    out = tmp_path / "data"
    command = ["voxceleb1", "--root", root, "--lists", lists, "--download-lists", "--out", out]
    files = {name: text.encode() for name, text in ORIGINAL.items()}
    with serving(files=files, drop_after=[7]) as server:
        for _ in range(2):
            done = call(*command, "--url", server.url)
            assert done.returncode == 0, done.stderr
            assert len(server.headers) == 4
    assert f"{out}: 3 speakers, 5 of 12 utterances" in done.stdout
    assert "vox1_O_cleaned.kaldi: 2 trials, 1 target, 1 non-target, over 3" in done.stdout
    for each in LISTS:
        assert f"published list has {each.trials:,}" in done.stderr
    assert Manifest.read(out).table["utterance"].to_list() == [A, B, C, D, E]
    assert check(out) == []
    assert (out / "vox1_O_cleaned.kaldi").read_text() == KALDI["vox1_O_cleaned.kaldi"]
    assert (out / "vox1_H_cleaned.kaldi").read_text() == f"{B} {D} nontarget\n"
    read_trials(out / "vox1_E_cleaned.kaldi").places_in([C, D, A, E], "audio")


@pytest.mark.parametrize("texts", [KALDI, {"veri_test2.txt": ORIGINAL["veri_test2.txt"]}])
def test_one_list_in_either_form_is_enough(root, lists, tmp_path, texts):
    for name, text in texts.items():
        (lists / name).write_text(text)
    run(root, lists, tmp_path / "data")
    assert Manifest.read(tmp_path / "data").table["utterance"].to_list() == [A, B, C]
    written = {path.name for path in (tmp_path / "data").glob("*.kaldi")}
    assert written == {"vox1_O_cleaned.kaldi"}


def test_the_full_number_is_no_warning(root, lists, tmp_path, monkeypatch, recwarn):
    assert [each.trials for each in LISTS] == [37_611, 579_818, 550_894]
    (name, original), *_ = ((each.name, each.original) for each in LISTS)
    monkeypatch.setattr(voxceleb1, "LISTS", (PublishedList(name, original, 2),))
    (lists / original).write_text(ORIGINAL[original])
    main(["--root", str(root), "--lists", str(lists), "--out", str(tmp_path / "data")])
    assert not recwarn.list


def test_dev_and_test_may_be_two_folders_or_an_archive(root, lists, tmp_path):
    (lists / "list_test_all2.txt").write_text(ORIGINAL["list_test_all2.txt"])
    run(root, lists, tmp_path / "one")
    (root / "test" / "wav").mkdir(parents=True)
    shutil.move(root / "wav" / "id10270", root / "test" / "wav")
    run(root, lists, tmp_path / "two")
    archive = pack(tmp_path / "vox1.zip", root, "")
    run(tmp_path / "new", lists, tmp_path / "three", "--archive", str(archive))
    tables = [Manifest.read(tmp_path / name).table for name in ("one", "two", "three")]
    for table in tables[1:]:
        assert table.drop("path").equals(tables[0].drop("path"))
    shutil.copytree(root / "test" / "wav" / "id10270", root / "wav" / "id10270")
    with pytest.raises(TidyVoiceError, match=r"id10270/.*wav occurs twice"):
        main(["--root", str(root), "--lists", str(lists), "--out", str(tmp_path / "x")])


@pytest.mark.filterwarnings("ignore:.*the published list has")
def test_only_utterances_of_the_lists_must_exist_and_be_fit(root, lists, tmp_path):
    (lists / "veri_test2.txt").write_text(ORIGINAL["veri_test2.txt"])
    (root / "wav" / E).write_bytes(b"")
    command = ["--root", str(root), "--lists", str(lists), "--out"]
    main([*command, str(tmp_path / "data")])
    (root / "wav" / A).write_bytes(b"")
    with pytest.raises(TidyVoiceError, match=f"1 unfit files: {root}/wav/{A} is an empty file"):
        main([*command, str(tmp_path / "x")])
    (root / "wav" / C).unlink()
    with pytest.raises(TidyVoiceError, match=f"veri_test2.txt:2: no audio in {root} for '{C}'"):
        main([*command, str(tmp_path / "x")])
    assert not (tmp_path / "x").exists()


def test_mistakes_are_named(root, lists, tmp_path):
    command = ["voxceleb1", "--root", root, "--lists", lists, "--out", tmp_path / "data"]
    assert "vox1_O_cleaned.kaldi or veri_test2.txt" in fail(*command)
    with serving(files={}) as server:
        line = fail(*command, "--download-lists", "--url", server.url)
        assert f"{server.url}/veri_test2.txt: HTTP 404" in line
        server.files, server.kind = {"veri_test2.txt": b"<html>moved</html>"}, "text/html"
        assert "is a web page" in fail(*command, "--download-lists", "--url", server.url)
    assert os.listdir(lists) == []
    (lists / "veri_test2.txt").write_text(f"{A} {B}\n")
    assert "veri_test2.txt has no labels" in fail(*command)
    write_wav(tmp_path / "flat" / "a.wav")
    command[2] = tmp_path / "flat"
    assert "contains no SPEAKER/VIDEO/UTTERANCE.wav" in fail(*command)
