"""The dev trials: a zip or a plain list, unpacked and checked."""

import os
import zipfile

import pytest
from conftest import prepared

from local import tidyvoice_trials
from local.tidyvoice_trials import COUNT, TRIALS, main
from tests.local.corpora import call, fail, succeed
from tidyvoice.data.manifest import Manifest
from tidyvoice.errors import TidyVoiceError, TidyVoiceWarning


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
    counts = "4 trials, 2 target, 2 non-target, over 4 utterances"
    assert done.stdout == f"{out}: {counts}\n"
    assert f"warning: {out}: 4 trials, the published list has 12,000,000" in done.stderr
    assert out.read_text() == text
    assert os.listdir(out.parent) == [TRIALS]
    assert "exists" in fail("tidyvoice_trials", "--trials", archive, "--out", out)


def test_a_plain_list_of_the_full_length_is_no_warning(tmp_path, text, monkeypatch, recwarn):
    assert COUNT == 12_000_000
    monkeypatch.setattr(tidyvoice_trials, "COUNT", 4)
    (tmp_path / "list").write_text(text)
    main(["--trials", str(tmp_path / "list")])
    assert not recwarn.list


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2 a b", r":5: the line is '2 a b'"),
        ("1 a", r":5: the line is '1 a'"),
        ("0 id9/en/a.wav id9/en/b.wav", r":5: no audio in {data} for 'id9/en/a.wav', nor for 1"),
    ],
)
def test_a_wrong_list_does_not_stay(tmp_path, data, text, line, message):
    archive, out = zipped(tmp_path / "t.zip", **{TRIALS: f"{text}{line}\n"}), tmp_path / TRIALS
    command = ["--trials", str(archive), "--out", str(out), "--data", str(data)]
    with pytest.raises(TidyVoiceError) as error:
        main(command)
    assert str(error.value).startswith(f"{out}{message.format(data=data)}")
    assert str(archive) in str(error.value)
    assert not out.exists()


def test_a_trial_that_occurs_twice_is_a_warning(tmp_path, text):
    (tmp_path / "list").write_text(text + text.splitlines()[0] + "\n")
    with pytest.warns(TidyVoiceWarning, match=r"list:5: the trial 'id"):
        main(["--trials", str(tmp_path / "list")])


def test_damaged_and_other_archives_are_named(tmp_path, text):
    archive, out = tmp_path / "t.zip", tmp_path / "out" / TRIALS
    content = bytearray(zipped(archive, **{TRIALS: text * 200}).read_bytes())
    content[90] ^= 0xFF
    archive.write_bytes(content)
    command = ("tidyvoice_trials", "--trials", archive)
    assert f"{archive} is damaged" in fail(*command, "--out", out)
    archive.write_bytes(content[:-30])
    assert f"{archive} is damaged" in fail(*command, "--out", out)
    zipped(archive, **{"a.txt": text, "b.txt": text})
    assert f"contains no {TRIALS}" in fail(*command, "--out", out)
    assert "--out: give it with a zip" in fail(*command)
    assert "nowhere.zip is missing" in fail("tidyvoice_trials", "--trials", "nowhere.zip")
    assert not out.exists()


def test_help_shows_the_command():
    assert "--trials dev_trials.zip \\\n" in succeed("tidyvoice_trials", "--help")
