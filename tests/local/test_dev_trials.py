"""The dev trials: the list in a zip, unpacked and checked."""

import os

from local.tidyvoice_trials import TRIALS
from tests.local.corpora import fail, succeed, zipped

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
