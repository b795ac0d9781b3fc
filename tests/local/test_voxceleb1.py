"""VoxCeleb1: lists in both forms, fetched or there, and the utterances that they name."""

import shutil

import pytest

from tests.local.corpora import fail, succeed, write_wav
from tests.local.server import serving
from tidyvoice.data.manifest import Manifest, check

A, B, C, D, E = (f"id1027{n // 2}/5r0dWxy17C7/0000{n}.wav" for n in range(5))
ORIGINAL = {
    "veri_test2.txt": f"1 {A} {B}\n0 {A} {C}\n",
    "list_test_all2.txt": f"1 {C} {D}\n0 {A} {C}\n",
    "list_test_hard2.txt": f"0 {B} {D}\n",
}
KALDI = {"vox1_O_cleaned.kaldi": f"{A} {B} target\n{A} {C} nontarget\n"}


@pytest.fixture
def root(tmp_path):
    for name in (A, B, C, D, E):
        write_wav(tmp_path / "vox1" / "wav" / name)
    (tmp_path / "lists").mkdir()
    return tmp_path / "vox1"


@pytest.fixture
def command(root, tmp_path):
    return ["voxceleb1", "--root", root, "--lists", tmp_path / "lists", "--out", tmp_path / "data"]


def test_lists_are_fetched_and_name_the_utterances(command, tmp_path):
    out, files = tmp_path / "data", {name: text.encode() for name, text in ORIGINAL.items()}
    with serving(files=files, drop_after=[7]) as server:
        for _ in range(2):
            said = succeed(*command, "--download-lists", "--url", server.url)
            assert len(server.starts) == 4
    assert f"{out}: 2 speakers, 4 of 5 utterances" in said
    assert "vox1_O_cleaned.kaldi: 2 trials, 1 target, 1 non-target, over 3" in said
    assert Manifest.read(out).table["utterance"].to_list() == [A, B, C, D]
    assert check(out) == []
    assert (out / "vox1_O_cleaned.kaldi").read_text() == KALDI["vox1_O_cleaned.kaldi"]
    assert (out / "vox1_H_cleaned.kaldi").read_text() == f"{B} {D} nontarget\n"


@pytest.mark.parametrize("texts", [KALDI, {"veri_test2.txt": ORIGINAL["veri_test2.txt"]}])
def test_one_list_in_either_form_is_enough(root, command, tmp_path, texts):
    for name, text in texts.items():
        (tmp_path / "lists" / name).write_text(text)
    (root / "test" / "wav").mkdir(parents=True)  # dev and test may be two folders
    shutil.move(root / "wav" / "id10270", root / "test" / "wav")
    (root / "wav" / E).write_bytes(b"")  # which the list does not need
    succeed(*command)
    assert Manifest.read(tmp_path / "data").table["utterance"].to_list() == [A, B, C]
    assert [path.name for path in (tmp_path / "data").glob("*.kaldi")] == [*KALDI]
    shutil.copytree(root / "test" / "wav" / "id10270", root / "wav" / "id10270")
    assert "occurs twice" in fail(*command)


def test_mistakes_are_named(root, command, tmp_path):
    published = tmp_path / "lists" / "veri_test2.txt"
    assert "lists contains no vox1_O_cleaned.kaldi" in fail(*command)
    with serving(files={}) as server:
        assert "HTTP Error 404" in fail(*command, "--download-lists", "--url", server.url)
    published.write_text(f"{A} {B}\n")
    assert "veri_test2.txt has no labels" in fail(*command)
    published.write_text(ORIGINAL["veri_test2.txt"])
    (root / "wav" / C).unlink()
    assert f"veri_test2.txt:2: no audio in {root} for '{C}'" in fail(*command)
    assert not (tmp_path / "data" / "wav.scp").exists()
