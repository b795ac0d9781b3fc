"""The challenge's sets: the dev trials in a zip; the evaluation set and its lists.

The evaluation set has flat ids and hidden speakers, or SPEAKER/LANGUAGE/FILE.
"""

import os

import pytest

from local.tidyvoice_trials import TRIALS
from tests.local.corpora import fail, succeed, write_wav, zipped
from tidyvoice.data.manifest import Manifest, check

IDS = ["a9x0000kq1b", "j8pvmcu6iuh", "zz81mno0p2q"]


@pytest.fixture
def audio(tmp_path):
    folder = tmp_path / "TidyVoiceX2"
    for number, name in enumerate(IDS):
        write_wav(folder / ("part/" * number) / f"{name}.wav")
    write_wav(folder / "._j8pvmcu6iuh.wav")
    return folder


def prepare(audio, data, trials):
    """Prepare with a list; return the list's path, the output and the table."""
    path = data.with_name("list")
    path.write_text(trials)
    said = succeed("tidyvoice_eval", "--root", audio, "--out", data, "--lists", path)
    return path, said, Manifest.read(data).table


def test_each_utterance_is_its_own_speaker(audio, tmp_path):
    data = tmp_path / "data"
    path, said, table = prepare(audio, data, f"{IDS[0]}\t{IDS[1]}\n{IDS[0]} {IDS[2]}.wav\n")
    assert f"{path}: 2 trials, without labels, over 3 utterances" in said
    assert f"{data}: 3 utterances, 0.00 h, speakers not known" in said
    assert table["utterance"].to_list() == table["speaker"].to_list() == IDS
    assert not (data / "utt2lang").exists()
    assert check(data) == []


def test_ids_that_are_paths_tell_speakers_and_languages(tmp_path):
    folder = tmp_path / "TidyVoiceX2"
    ids = [f"{speaker}/{code}/{speaker}_{code}.wav" for speaker in "ab" for code in ("ab", "yue")]
    for name in ids:
        write_wav(folder / name)
    trials = f"1 {ids[0]} {ids[1]}\n0 {ids[0]} {ids[3].removesuffix('.wav')}\n"
    path, said, table = prepare(folder, tmp_path / "data", trials)
    assert f"{path}: 2 trials, 1 target, 1 non-target, over 3 utterances" in said
    assert f"{tmp_path / 'data'}: 4 utterances, 0.00 h, 2 speakers" in said
    assert table["utterance"].to_list() == ids
    assert table["speaker"].to_list() == [*"aabb"]
    assert table["language"].to_list() == ["ab", "yue"] * 2


def test_missing_and_ambiguous_audio_is_named(audio, tmp_path):
    path, first = tmp_path / "list", audio / f"{IDS[0]}.wav"
    command = ("tidyvoice_eval", "--root", audio, "--out", tmp_path / "data", "--lists", path)
    path.write_text(f"{IDS[0]} {IDS[1]}\n{IDS[0]} notthere\nnorthis northat\n")
    message = f"{path}:2: no audio in {audio} for 'notthere', nor for 2 more ids"
    assert message in fail(*command)
    path.write_text(f"{IDS[0]} {IDS[1]}\n")
    other = write_wav(audio / "again" / first.name)
    line = fail(*command)
    assert f"{other}" in line
    assert f"{first}" in line
    assert not (tmp_path / "data" / "wav.scp").exists()


TEXT = "1 a/en/1.wav a/en/2.wav\n0 a/en/1.wav b/en/1.wav\n"


def test_the_list_comes_out_of_its_zip(tmp_path):
    archive, out = tmp_path / "t.zip", tmp_path / "new" / TRIALS
    members = {"__MACOSX/._" + TRIALS: "no list", f"folder/{TRIALS}": TEXT}
    archive.write_bytes(zipped(members))
    said = succeed("tidyvoice_trials", "--trials", archive, "--out", out)
    assert said == f"{out}: 2 trials, 1 target, 1 non-target, over 3 utterances\n"
    assert out.read_text() == TEXT
    assert os.listdir(out.parent) == [TRIALS]


def test_other_archives_are_named(tmp_path):
    archive, out = tmp_path / "t.zip", tmp_path / "out" / TRIALS
    command = ("tidyvoice_trials", "--trials", archive, "--out", out)
    archive.write_bytes(zipped({"a.txt": TEXT}))
    assert f"{archive} contains no {TRIALS}" in fail(*command)
    assert not out.exists()
    archive.write_bytes(zipped({TRIALS: f"{TEXT}2 a b\n"}))
    assert f"{out}:3: the line is '2 a b'" in fail(*command)
