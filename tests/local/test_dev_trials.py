"""The dev trials: the list in a zip, unpacked and checked."""

import os
import zipfile

import pytest

from local.tidyvoice_trials import TRIALS
from tests.local.corpora import fail, succeed

TEXT = "1 a/en/1.wav a/en/2.wav\n0 a/en/1.wav b/en/1.wav\n"


def zipped(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("member", [TRIALS, f"folder/{TRIALS}"])
def test_the_list_comes_out_of_its_zip(tmp_path, member):
    archive = zipped(tmp_path / "t.zip", **{"__MACOSX/._" + TRIALS: "no list", member: TEXT})
    out = tmp_path / "new" / TRIALS
    said = succeed("tidyvoice_trials", "--trials", archive, "--out", out)
    assert said == f"{out}: 2 trials, 1 target, 1 non-target, over 3 utterances\n"
    assert out.read_text() == TEXT
    assert os.listdir(out.parent) == [TRIALS]


def test_damaged_and_other_archives_are_named(tmp_path):
    archive, out = tmp_path / "t.zip", tmp_path / "out" / TRIALS
    content = bytearray(zipped(archive, **{TRIALS: TEXT * 200}).read_bytes())
    content[90] ^= 0xFF
    archive.write_bytes(content)
    command = ("tidyvoice_trials", "--trials", archive, "--out", out)
    assert f"{archive} is damaged" in fail(*command)
    archive.write_bytes(content[:-30])
    assert f"{archive} is damaged" in fail(*command)
    zipped(archive, **{"a.txt": TEXT})
    assert f"contains no {TRIALS}" in fail(*command)
    assert not out.exists()


def test_a_malformed_list_is_refused(tmp_path):
    archive = zipped(tmp_path / "t.zip", **{TRIALS: f"{TEXT}2 a b\n"})
    line = fail("tidyvoice_trials", "--trials", archive, "--out", tmp_path / TRIALS)
    assert f"{TRIALS}:3: bad label '2'" in line
