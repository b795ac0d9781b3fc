"""The dev trials: a zip or a plain list, checked and put in its place."""

import os
import zipfile

import pytest
from conftest import prepared

from local import tidyvoice_trials
from local.tidyvoice_trials import COUNT, TRIALS, main
from tests.local.corpora import call, fail, succeed
from tidyvoice.data.manifest import Manifest
from tidyvoice.errors import TidyVoiceError, TidyVoiceWarning

WARNING = f"4 trials, the published list has {COUNT:,}"


@pytest.fixture
def data(tmp_path):
    return prepared(tmp_path, speakers=2, utterances=2)


@pytest.fixture
def text(data):
    a, b, c, d = Manifest.read(data).table["utterance"].to_list()
    return f"1 {a} {b}\n1 {c} {d}\n0 {a} {c}\n0 {b} {d}\n"


def zipped(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_the_published_number_of_trials():
    assert COUNT == 12_000_000
    assert TRIALS == "TidyVocieX_Dev_trialPairs.txt"


@pytest.mark.parametrize(
    "members",
    [[TRIALS], [f"folder/{TRIALS}", "readme.txt"], ["trials.txt", "__MACOSX/._trials.txt"]],
)
def test_the_list_comes_out_of_its_zip(tmp_path, data, text, members):
    other = dict.fromkeys(members[1:], "no list")
    archive = zipped(tmp_path / "t.zip", **{members[0]: text, **other})
    out = tmp_path / "new" / TRIALS
    done = call("tidyvoice_trials", "--trials", archive, "--out", out, "--data", data)
    assert done.returncode == 0, done.stderr
    said = "4 trials, 2 target, 2 non-target, over 4 utterances"
    assert done.stdout == f"{out}: {said}\n"
    assert done.stderr == f"warning: {archive}/{members[0]}: {WARNING}\n"
    assert out.read_text() == text
    assert os.listdir(out.parent) == [TRIALS]


def test_the_full_number_is_no_warning(tmp_path, text, monkeypatch, recwarn):
    monkeypatch.setattr(tidyvoice_trials, "COUNT", 4)
    (tmp_path / "list").write_text(text)
    main(["--trials", str(tmp_path / "list")])
    assert not recwarn.list


def test_a_plain_list_is_checked_where_it_is_or_copied(tmp_path, data, text, capsys):
    plain, out = tmp_path / "list.txt", tmp_path / "new" / TRIALS
    plain.write_text(text.replace(" ", "\t"))
    with pytest.warns(TidyVoiceWarning, match="published"):
        main(["--trials", str(plain)])
    with pytest.warns(TidyVoiceWarning, match="published"):
        main(["--trials", str(plain), "--out", str(out), "--data", str(data)])
    assert out.read_bytes() == plain.read_bytes()
    assert capsys.readouterr().out.startswith(f"{plain}: 4 trials")
    with pytest.raises(TidyVoiceError, match="is --trials itself"):
        main(["--trials", str(out), "--out", str(out)])


def test_a_trial_that_stands_twice_is_warned_of(tmp_path, text):
    archive = zipped(tmp_path / "t.zip", **{TRIALS: text + text.splitlines()[0] + "\n"})
    done = call("tidyvoice_trials", "--trials", archive, "--out", tmp_path / "new" / TRIALS)
    assert done.returncode == 0
    assert f"warning: {archive}/{TRIALS}:5: the trial 'id" in done.stderr
    assert "partial" not in done.stderr


def test_utterances_without_audio_are_named(tmp_path, data, text):
    archive = zipped(tmp_path / "t.zip", **{TRIALS: text + "0 id9/en/a.wav id9/en/b.wav\n"})
    out = tmp_path / TRIALS
    line = refusal("--trials", archive, "--out", out, "--data", data)
    assert f"{archive}/{TRIALS}:5: no audio in {data} for 'id9/en/a.wav', nor for 1 more" in line
    assert not out.exists()


def refusal(*arguments):
    done = call("tidyvoice_trials", *arguments)
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if not line.startswith("warning: ")]
    assert len(errors) == 1, done.stderr
    return errors[0]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda text: text + "2 a b\n", r":5: bad label '2', use '1' or '0'"),
        (lambda text: text + "1 a\n", r":5: 2 columns"),
        (lambda text: "", "the file is empty"),
        (lambda text: text + text.splitlines()[0].replace("1 ", "0 ", 1) + "\n", "other label"),
    ],
)
def test_a_list_that_is_wrong_does_not_get_its_name(tmp_path, text, spoil, message):
    archive = zipped(tmp_path / "t.zip", **{TRIALS: spoil(text)})
    out = tmp_path / "out" / TRIALS
    with pytest.raises(TidyVoiceError) as error:
        main(["--trials", str(archive), "--out", str(out)])
    assert str(error.value).startswith(f"{archive}/{TRIALS}")
    assert message in str(error.value)
    assert os.listdir(out.parent) == []


def test_archives_that_are_wrong_are_named(tmp_path, text):
    whole = zipped(tmp_path / "t.zip", **{TRIALS: text * 200}).read_bytes()
    out = tmp_path / "out" / TRIALS
    spoilt = bytearray(whole)
    spoilt[90] ^= 0xFF
    (tmp_path / "t.zip").write_bytes(spoilt)
    command = ("tidyvoice_trials", "--trials", tmp_path / "t.zip")
    assert f"{tmp_path / 't.zip'} is damaged" in fail(*command, "--out", out)
    (tmp_path / "t.zip").write_bytes(whole[:-30])
    assert f"{tmp_path / 't.zip'} is damaged" in fail(*command, "--out", out)
    zipped(tmp_path / "t.zip", **{"a.txt": text, "b.txt": text})
    assert f"holds no {TRIALS}" in fail(*command, "--out", out)
    assert "--out: say where the list in" in fail(*command)
    assert "nowhere.zip is missing" in fail("tidyvoice_trials", "--trials", "nowhere.zip")
    assert not out.exists()


def test_help_shows_the_command(tmp_path):
    said = succeed("tidyvoice_trials", "--help")
    assert "--trials dev_trials.zip \\\n" in said
