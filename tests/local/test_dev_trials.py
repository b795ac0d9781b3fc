"""The dev trials: the list in a zip, unpacked and checked."""

import os
import zipfile

from local.tidyvoice_trials import TRIALS
from tests.local.corpora import fail, succeed

TEXT = "1 a/en/1.wav a/en/2.wav\n0 a/en/1.wav b/en/1.wav\n"


def zipped(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_the_list_comes_out_of_its_zip(tmp_path):
    members = {"__MACOSX/._" + TRIALS: "no list", f"folder/{TRIALS}": TEXT}
    archive = zipped(tmp_path / "t.zip", **members)
    out = tmp_path / "new" / TRIALS
    said = succeed("tidyvoice_trials", "--trials", archive, "--out", out)
    assert said == f"{out}: 2 trials, 1 target, 1 non-target, over 3 utterances\n"
    assert out.read_text() == TEXT
    assert os.listdir(out.parent) == [TRIALS]


def test_damaged_and_other_archives_are_named(tmp_path):
    archive, out = tmp_path / "t.zip", tmp_path / "out" / TRIALS
    content = bytearray(zipped(archive, **{TRIALS: TEXT * 200}).read_bytes())
    content[90] ^= 0xFF
    command = ("tidyvoice_trials", "--trials", archive, "--out", out)
    for damaged in (content, content[:-30]):
        archive.write_bytes(damaged)
        assert f"{archive} is not a readable archive" in fail(*command)
    zipped(archive, **{"a.txt": TEXT})
    assert f"contains no {TRIALS}" in fail(*command)
    assert not out.exists()
    zipped(archive, **{TRIALS: f"{TEXT}2 a b\n"})
    assert f"{out}:3: the line is '2 a b'" in fail(*command)
