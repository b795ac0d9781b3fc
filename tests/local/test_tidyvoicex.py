"""TidyVoiceX from folders and archives, with the faults of real ones."""

import re
import shutil

import pytest
from conftest import write_corpus

from local.tidyvoice import TERMS, main
from tests.local.corpora import call, fail, pack, succeed, write_wav
from tidyvoice.data.manifest import Manifest, check, terms_of
from tidyvoice.errors import TidyVoiceError

TRAIN, DEV = "TidyVoiceX_Train", "TidyVoiceX_Dev"


@pytest.fixture
def speakers(tmp_path):
    """The folder of the speakers, under the real names."""
    folder = tmp_path / "made" / "TidyVoiceX_ASV" / TRAIN
    write_corpus(folder, speakers=3, utterances=2, seconds=0.3)
    return folder


def ids(data):
    return Manifest.read(data).table["utterance"].to_list()


EXPECTED = [f"id00000{n}/{x}" for n in range(3) for x in ("en/en_0.wav", "fr/fr_1.wav")]


@pytest.mark.parametrize("above", [0, 1, 2])
def test_the_folder_of_the_speakers_is_found(speakers, tmp_path, above):
    root = [speakers, *speakers.parents][above]
    said = succeed("tidyvoice", "--root", root, "--out", tmp_path / "data")
    counts = f"{tmp_path / 'data'}: 3 speakers, 6 utterances, 0.00 h, 2 languages"
    assert said.splitlines() == [TERMS, counts]
    assert terms_of(tmp_path / "data") == [TERMS]
    assert ids(tmp_path / "data") == EXPECTED
    assert check(tmp_path / "data") == []


@pytest.mark.parametrize(
    ("name", "top"),
    [
        (f"{TRAIN}.tar.gz", f"TidyVoiceX_ASV/{TRAIN}"),
        (f"{TRAIN}.tar.gz", TRAIN),
        (f"{TRAIN}.tar.gz", ""),
        (f"{TRAIN}.zip", f"TidyVoiceX_ASV/{TRAIN}"),
        ("nested", f"x/{TRAIN}.tar.gz"),
    ],
)
def test_an_archive_of_any_form_gives_the_same(speakers, tmp_path, name, top, capsys):
    if name == "nested":
        inner = pack(tmp_path / "inner" / f"{TRAIN}.tar.gz", speakers, "")
        archive = pack(tmp_path / "packed" / f"{TRAIN}.tar.gz", inner, top)
    else:
        archive = pack(tmp_path / "packed" / name, speakers, top)
    root, data = tmp_path / "corpus" / "TidyVoiceX_ASV" / TRAIN, tmp_path / "data"
    command = ["--archive", str(archive), "--root", str(root), "--out", str(data)]
    main(command)
    assert ids(data) == EXPECTED
    first = Manifest.read(data).table
    main(command)
    assert Manifest.read(data).table.equals(first)
    output = capsys.readouterr().out
    assert output.count("unpacked TidyVoiceX_Train.") == 1
    assert output.count("nothing is unpacked") == 1


def test_train_and_dev_in_one_archive_are_told_apart(speakers, tmp_path):
    shutil.copytree(speakers, speakers.with_name(DEV))
    shutil.rmtree(speakers.with_name(DEV) / "id000000")
    archive = pack(tmp_path / "all.tar.gz", speakers.parent, "TidyVoiceX_ASV")
    root = tmp_path / "corpus" / "TidyVoiceX_ASV"
    succeed("tidyvoice", "--archive", archive, "--root", root)
    line = fail("tidyvoice", "--root", root, "--out", tmp_path / "data")
    assert f"{root / TRAIN} (6 files)" in line
    assert f"{root / DEV} (4 files)" in line
    succeed("tidyvoice", "--root", root, "--subset", DEV, "--out", tmp_path / "dev")
    assert ids(tmp_path / "dev") == EXPECTED[2:]


def test_speakers_are_held_out(speakers, tmp_path):
    output = succeed(
        *("tidyvoice", "--root", speakers, "--out", tmp_path / "data"),
        *("--calib", tmp_path / "calib", "--calib-speakers", 1),
    )
    assert "2 speakers, 4 utterances" in output
    kept, held_out = (Manifest.read(tmp_path / name).speakers() for name in ("data", "calib"))
    assert sorted(kept + held_out) == ["id000000", "id000001", "id000002"]


def test_hidden_files_are_left_out_and_stray_files_reported(speakers, tmp_path):
    (speakers / "id000000" / "en" / "._en_0.wav").write_bytes(b"\0\5\x16\7 of macOS")
    (speakers / "id000000" / ".AppleDouble" / "en").mkdir(parents=True)
    (speakers / "id000000" / ".AppleDouble" / "en" / "x.wav").write_bytes(b"x")
    (speakers / "id000000" / "en" / "notes.txt").write_text("x")
    (speakers / "id000000" / "en" / "loop").symlink_to(speakers)  # a circle
    write_wav(speakers / "sample.wav")
    write_wav(speakers / "id000000" / "en" / "more" / "sample.wav")
    done = call("tidyvoice", "--root", speakers, "--out", tmp_path / "data")
    assert re.search(rf"warning: {speakers}: \d+ files are not SPEAKER/FOLDER/FILE", done.stderr)
    assert ids(tmp_path / "data") == EXPECTED


@pytest.fixture
def unfit(speakers):
    """A corpus with one file of each kind that is unfit, and what is said of it."""
    en = speakers / "id000000" / "en"
    (en / "empty.wav").write_bytes(b"")
    (en / "text.wav").write_bytes(b"<html>not found</html>")
    write_wav(en / "wide.wav", rate=48000, channels=2)
    whole = write_wav(en / "cut.wav")
    whole.write_bytes(whole.read_bytes()[:5000])
    header = write_wav(en / "header.wav")
    header.write_bytes(header.read_bytes()[:44])
    write_wav(en / "silent.wav", seconds=0)
    return {
        "empty.wav": "is an empty file",
        "text.wav": "cannot be read as audio",
        "wide.wav": "has 48000 Hz, expected 16000",
        "cut.wav": "is cut short by 4,644 of 9,600 bytes",
        "header.wav": "lasts 0.000 s",
        "silent.wav": "lasts 0.000 s",
    }


def test_unfit_files_are_refused_by_name(speakers, tmp_path, unfit):
    line = fail("tidyvoice", "--root", speakers, "--out", tmp_path / "data")
    assert "6 unfit files: " in line
    assert "; --drop-unfit leaves them out" in line
    for name, message in unfit.items():
        assert f"{speakers}/id000000/en/{name} {message}" in line
    assert not (tmp_path / "data").exists()


def test_unfit_files_are_left_out_on_demand_and_listed(speakers, tmp_path, unfit):
    data = tmp_path / "data"
    said = succeed("tidyvoice", "--root", speakers, "--out", data, "--drop-unfit")
    assert "6 unfit files left out" in said
    assert ids(data) == EXPECTED
    lines = (data / "unfit.txt").read_text().splitlines()
    assert len(lines) == 6
    for line, (name, message) in zip(lines, sorted(unfit.items()), strict=True):
        assert line.startswith(f"{speakers}/id000000/en/{name} {message}")
    for name in unfit:
        (speakers / "id000000" / "en" / name).unlink()
    succeed("tidyvoice", "--root", speakers, "--out", data)
    assert not (data / "unfit.txt").exists()


def test_a_corpus_of_unfit_files_alone_is_refused_in_any_case(tmp_path):
    write_wav(tmp_path / "c" / "id1" / "en" / "a.wav", rate=8000)
    line = fail("tidyvoice", "--root", tmp_path / "c", "--out", tmp_path / "data", "--drop-unfit")
    assert "1 unfit files" in line
    assert not (tmp_path / "data").exists()


def test_a_stream_of_unknown_length_is_not_cut_short(speakers, tmp_path):
    path = write_wav(speakers / "id000000" / "en" / "stream.wav")
    content = bytearray(path.read_bytes())
    place = content.find(b"data") + 4
    content[place : place + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    succeed("tidyvoice", "--root", speakers, "--out", tmp_path / "data")


def test_names(speakers, tmp_path):
    for name in ("grüße_ä.wav", "语音.wav"):
        write_wav(speakers / "id000000" / "de" / name)
    succeed("tidyvoice", "--root", speakers, "--out", tmp_path / "data")
    assert "id000000/de/grüße_ä.wav" in ids(tmp_path / "data")
    assert check(tmp_path / "data") == []
    write_wav(speakers / "id000000" / "de" / "with space.wav")
    line = fail("tidyvoice", "--root", speakers, "--out", tmp_path / "spaced", "--drop-unfit")
    assert "white space in 'id000000/de/with space.wav'. Rename the file" in line
    assert not (tmp_path / "spaced").exists()
    (speakers / "id000000" / "de" / "with space.wav").unlink()
    shutil.copy(speakers / "id000000/en/en_0.wav", bytes(speakers / "id000000/en") + b"/\xff.wav")
    line = fail("tidyvoice", "--root", speakers, "--out", tmp_path / "spaced")
    assert r"\xff.wav' is not UTF-8" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--root", "nowhere", "--out", "x"], "nowhere is missing"),
        (["--root", "{empty}", "--out", "x"], "contains no .wav file"),
        (["--root", "{flat}", "--out", "x"], "contains no SPEAKER/FOLDER/FILE"),
        (["--out", "x"], "--root: give the folder of the corpus, or --download"),
        (["--root", "x"], "--out: give the data folder"),
        (["--archive", "x.tar.gz", "--out", "x"], "--root: give the folder"),
    ],
)
def test_mistakes_are_named(tmp_path, arguments, message):
    (tmp_path / "empty").mkdir()
    write_wav(tmp_path / "flat" / "a.wav")
    folders = {name: str(tmp_path / name) for name in ("empty", "flat")}
    with pytest.raises(TidyVoiceError, match=message):
        main([argument.format(**folders) for argument in arguments])
