"""TidyVoiceX from folders and archives, with the faults of real ones."""

import re
import shutil

import pytest
from conftest import write_corpus

from local.tidyvoice import TERMS
from tests.local.corpora import call, fail, pack, succeed, write_wav
from tidyvoice.data.manifest import Manifest, check, terms_of

TRAIN, DEV = "TidyVoiceX_Train", "TidyVoiceX_Dev"
EXPECTED = [f"id00000{n}/{x}" for n in range(3) for x in ("en/en_0.wav", "fr/fr_1.wav")]


@pytest.fixture
def speakers(tmp_path):
    """The folder of the speakers, under the real names."""
    folder = tmp_path / "made" / "TidyVoiceX_ASV" / TRAIN
    write_corpus(folder, speakers=3, utterances=2, seconds=0.3)
    return folder


def ids(data):
    return Manifest.read(data).table["utterance"].to_list()


@pytest.mark.parametrize("above", [0, 2])
def test_the_folder_of_the_speakers_is_found(speakers, tmp_path, above):
    root = [speakers, *speakers.parents][above]
    said = succeed("tidyvoice", "--root", root, "--out", tmp_path / "data")
    counts = f"{tmp_path / 'data'}: 3 speakers, 6 utterances, 0.00 h, 2 languages"
    assert said.splitlines() == [TERMS, counts]
    assert terms_of(tmp_path / "data") == [TERMS]
    assert ids(tmp_path / "data") == EXPECTED
    assert check(tmp_path / "data") == []


@pytest.mark.parametrize("top", [f"TidyVoiceX_ASV/{TRAIN}", TRAIN, ""])
def test_an_archive_of_any_form_gives_the_same(speakers, tmp_path, top):
    archive = pack(tmp_path / "packed" / f"{TRAIN}.tar.gz", speakers, top)
    root, data = tmp_path / "corpus" / "TidyVoiceX_ASV" / TRAIN, tmp_path / "data"
    command = ("tidyvoice", "--archive", archive, "--root", root, "--out", data)
    assert f"unpacking to {root}" in succeed(*command)
    assert ids(data) == EXPECTED
    assert "nothing is unpacked" in succeed(*command)


def test_train_and_dev_in_one_folder_are_told_apart(speakers, tmp_path):
    shutil.copytree(speakers, speakers.with_name(DEV))
    line = fail("tidyvoice", "--root", speakers.parent, "--out", tmp_path / "data")
    assert f"{speakers.with_name(DEV)} (6 files), {speakers} (6 files)" in line


def test_speakers_are_held_out(speakers, tmp_path):
    command = ("tidyvoice", "--root", speakers, "--out", tmp_path / "data", "--calib-speakers", 1)
    assert "--calib-speakers: give --calib" in fail(*command)
    output = succeed(*command, "--calib", tmp_path / "calib")
    assert "2 speakers, 4 utterances" in output
    kept, held_out = (Manifest.read(tmp_path / name).speakers() for name in ("data", "calib"))
    assert sorted(kept + held_out) == ["id000000", "id000001", "id000002"]


def test_hidden_files_are_left_out_and_stray_files_reported(speakers, tmp_path):
    (speakers / "id000000" / "en" / "._en_0.wav").write_bytes(b"\0\5\x16\7 of macOS")
    (speakers / "id000000" / "en" / "loop").symlink_to(speakers)  # a circle
    write_wav(speakers / "id000000" / "en" / "more" / "sample.wav")
    done = call("tidyvoice", "--root", speakers, "--out", tmp_path / "data")
    assert re.search(rf"warning: {speakers}: \d+ files are not SPEAKER/FOLDER/FILE", done.stderr)
    assert ids(tmp_path / "data") == EXPECTED


def test_unfit_files_are_refused_by_name_or_left_out_on_demand(speakers, tmp_path):
    en, data = speakers / "id000000" / "en", tmp_path / "data"
    whole = write_wav(en / "cut.wav")
    whole.write_bytes(whole.read_bytes()[:5000])
    (en / "empty.wav").write_bytes(b"")
    write_wav(en / "wide.wav", rate=48000, channels=2)
    command = ("tidyvoice", "--root", speakers, "--out", data)
    line = fail(*command)
    assert "3 unfit files: " in line
    assert f"{en}/cut.wav is cut short by 4,644 of 9,600 bytes" in line
    assert f"{en}/empty.wav is an empty file" in line
    assert not data.exists()
    assert "3 unfit files left out" in succeed(*command, "--drop-unfit")
    assert ids(data) == EXPECTED
    lines = (data / "unfit.txt").read_text().splitlines()
    names = ("cut.wav", "empty.wav", "wide.wav")
    assert [line.split()[0] for line in lines] == [f"{en}/{name}" for name in names]
    for name in names:
        (en / name).unlink()
    succeed(*command)
    assert not (data / "unfit.txt").exists()


def test_names(speakers, tmp_path):
    for name in ("grüße_ä.wav", "语音.wav"):
        write_wav(speakers / "id000000" / "de" / name)
    command = ("tidyvoice", "--root", speakers, "--drop-unfit", "--out")
    succeed(*command, tmp_path / "data")
    assert "id000000/de/grüße_ä.wav" in ids(tmp_path / "data")
    assert check(tmp_path / "data") == []
    spaced = write_wav(speakers / "id000000" / "de" / "with space.wav")
    line = fail(*command, tmp_path / "refused")
    assert "white space in 'id000000/de/with space.wav'. Rename the file" in line
    shutil.move(spaced, bytes(speakers / "id000000/en") + b"/\xff.wav")
    assert r"\xff.wav' is not UTF-8" in fail(*command, tmp_path / "refused")
    assert not (tmp_path / "refused").exists()


def test_mistakes_are_named():
    for arguments, message in (
        ("--root nowhere --out x", "nowhere is missing"),
        ("--root x", "--out: give the data folder"),
        ("--root x --out y --calib z", "--calib: give --calib-speakers"),
        ("--root x --archive x.tar.gz --out y", "x.tar.gz is missing"),
        ("--root x --out y --calib y", "is the corpus, holds it, or is given twice"),
    ):
        assert message in fail("tidyvoice", *arguments.split())
