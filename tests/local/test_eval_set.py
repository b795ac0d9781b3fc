"""The evaluation set: flat ids and hidden speakers, or SPEAKER/LANGUAGE/FILE; its lists."""

import shutil

import pytest

from local import tidyvoice_eval
from local.tidyvoice_eval import COUNTS, main
from tests.local.corpora import call, fail, pack, succeed, write_wav
from tidyvoice.data.manifest import Manifest, check
from tidyvoice.errors import TidyVoiceError, TidyVoiceWarning
from tidyvoice.scoring.trials import read_trials

IDS = ["a9x0000kq1b", "j8pvmcu6iuh", "zz81mno0p2q"]


@pytest.fixture
def audio(tmp_path):
    folder = tmp_path / "TidyVoiceX2"
    for number, name in enumerate(IDS):
        write_wav(folder / ("part/" * number) / f"{name}.wav")
    write_wav(folder / "._j8pvmcu6iuh.wav")
    return folder


@pytest.fixture
def lists(tmp_path):
    a, u = tmp_path / "tv26_eval-A.txt", tmp_path / "tv26_eval-U.txt"
    a.write_text(f"{IDS[0]}\t{IDS[1]}\n{IDS[0]}\t{IDS[2]}\n")
    u.write_text(f"{IDS[1]}.wav {IDS[2]}.wav\n")
    return a, u


@pytest.mark.parametrize("packed", [False, True])
def test_each_utterance_is_its_own_speaker(audio, lists, tmp_path, packed):
    data, root = tmp_path / "data", audio
    command = ["tidyvoice_eval", "--root", root, "--out", data, "--lists", *lists]
    if packed:
        command += ["--archive", pack(tmp_path / "eval.tar.gz", audio, "wav")]
        shutil.rmtree(audio)
    done = call(*command)
    assert done.returncode == 0, done.stderr
    assert f"{lists[0]}: 2 trials, without labels, over 3 utterances" in done.stdout
    assert f"{data}: 3 utterances, 0.00 h, speakers not known" in done.stdout
    assert "1 trials, the published list has 1,280,000" in done.stderr
    table = Manifest.read(data).table
    assert table["utterance"].to_list() == table["speaker"].to_list() == IDS
    assert table["language"].null_count() == 3
    assert sorted(path.name for path in data.iterdir()) == [
        "spk2utt", "terms", "utt2dur", "utt2spk", "wav.scp"
    ]  # fmt: skip
    assert check(data) == []
    for path in lists:
        read_trials(path).places_in(IDS, "audio")


@pytest.fixture
def later(tmp_path):
    """The layout of later users."""
    folder = tmp_path / "TidyVoiceX2"
    ids = [
        f"{speaker}/{tongue}/{speaker}_{tongue}.wav" for speaker in "ab" for tongue in ("ab", "yue")
    ]
    for name in ids:
        write_wav(folder / name)
    return folder, ids


def test_ids_that_are_paths_tell_speakers_and_languages(later, tmp_path):
    folder, ids = later
    path = tmp_path / "list"
    path.write_text(f"1 {ids[0]} {ids[1]}\n0 {ids[0]} {ids[3].removesuffix('.wav')}\n")
    said = succeed("tidyvoice_eval", "--root", folder, "--out", tmp_path / "data", "--lists", path)
    assert f"{path}: 2 trials, 1 target, 1 non-target, over 3 utterances" in said
    assert f"{tmp_path / 'data'}: 4 utterances, 0.00 h, 2 speakers" in said
    table = Manifest.read(tmp_path / "data").table
    assert table["utterance"].to_list() == ids
    assert table["speaker"].to_list() == [*"aabb"]
    assert table["language"].to_list() == ["ab", "yue"] * 2


def test_flat_ids_of_the_same_files_tell_nothing(later, tmp_path):
    folder, _ = later
    path = tmp_path / "list"
    path.write_text("a_ab.wav b_yue.wav\na_ab.wav b_ab.wav\n")
    succeed("tidyvoice_eval", "--root", folder, "--out", tmp_path / "data", "--lists", path)
    table = Manifest.read(tmp_path / "data").table
    assert table["utterance"].to_list() == table["speaker"].to_list()
    assert sorted(table["utterance"]) == ["a_ab", "a_yue", "b_ab", "b_yue"]
    assert not (tmp_path / "data" / "utt2lang").exists()


def test_the_full_numbers_are_no_warning(audio, lists, tmp_path, monkeypatch, recwarn):
    assert COUNTS == {"tv26_eval-A.txt": 4_000_000, "tv26_eval-U.txt": 1_280_000}
    monkeypatch.setitem(tidyvoice_eval.COUNTS, "tv26_eval-A.txt", 2)
    main(["--root", str(audio), "--out", str(tmp_path / "data"), "--lists", str(lists[0])])
    assert not recwarn.list


def test_trials_without_audio_are_named(audio, lists, tmp_path):
    with open(lists[1], "a") as file:
        file.write(f"{IDS[0]} notthere\nnorthis northat\n")
    command = ["--root", str(audio), "--out", str(tmp_path / "data"), "--lists", str(lists[1])]
    with (
        pytest.warns(TidyVoiceWarning, match="3 trials"),
        pytest.raises(TidyVoiceError) as error,
    ):
        main(command)
    said = f"{lists[1]}:2: no audio in {audio} for 'notthere', nor for 2 more ids of this list"
    assert str(error.value).startswith(said)
    assert not (tmp_path / "data" / "wav.scp").exists()


def test_two_files_with_one_id_and_unfit_files_are_named(audio, tmp_path):
    path = audio / f"{IDS[0]}.wav"
    command = ("tidyvoice_eval", "--root", audio, "--out", tmp_path / "data")
    other = write_wav(audio / "again" / path.name)
    line = fail(*command)
    assert f"{other}" in line
    assert f"{path}" in line
    other.unlink()
    path.write_bytes(path.read_bytes()[:3000])
    line = fail(*command)
    assert f"1 unfit files: {path} is cut short" in line
    assert "--drop-unfit" not in line
