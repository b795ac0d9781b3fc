"""The built-in corpus: its layout, its trials, and that the same seed gives the same bytes."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import soundfile
from conftest import refused

from tidyvoice.errors import TidyVoiceError
from tidyvoice.settings import load_settings

try:
    import espeakng_loader  # noqa: F401
except ImportError:
    if os.environ.get("CI") == "true":
        raise
    pytest.skip("espeakng-loader is in the extra mini", allow_module_level=True)

from local.mini import corpus, espeak
from local.mini.plan import plan
from local.mini.settings import Settings
from local.mini.trials import draw_trials

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "conf" / "mini" / "corpus.yaml"
TINY = [
    *(f"{split}.speakers=2" for split in ("pretrain", "train")),
    *(f"{split}.utterances_per_language=2" for split in ("pretrain", "train", "dev")),
    *(f"{split}.seconds=[0.5,0.8]" for split in ("pretrain", "train", "dev")),
    "dev.speakers=4",
    "languages=[de,en,fr,cmn]",
    "trials={targets: 6, nontargets: 12}",
    "collections={noise: 4, music: 1, speech: 1, rirs: 3}",
]
# Ctrl-C after the first folder, while a second one is being made.
INTERRUPTED = """
import runpy, signal
from local.mini import corpus
def first(folders, **_):
    yield next(folders)
    signal.raise_signal(signal.SIGINT)
corpus.tqdm = first
runpy.run_module("local.mini", run_name="__main__")
"""
DEV = "TidyVoiceX_ASV/TidyVoiceX_Dev"


def settings(*overrides):
    return load_settings(Settings, CONFIG, [*TINY, *overrides])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("mini") / "corpus"
    corpus.make(settings(), out, jobs=1)
    return out


def test_layout_and_format(made):
    for speaker in plan(settings()):
        for language, files in speaker.files.items():
            for file in files:
                info = soundfile.info(made / speaker.folder / language / file)
                assert 0.5 <= info.duration <= 0.8 + 1e-3
    for path in made.rglob("*.wav"):
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16"), path
    assert len(list((made / "musan").glob("*/*/*.wav"))) == 6
    for room in ("smallroom", "mediumroom", "largeroom"):
        name = f"RIRS_NOISES/simulated_rirs/{room}/Room001/Room001-00001.wav"
        assert soundfile.read(made / name)[0].argmax() == 0  # the direct path comes first
    assert not [path for path in made.rglob("*") if "partial" in path.name]


def test_trials(made):
    lines = (made / "TidyVocieX_Dev_trialPairs.txt").read_text().splitlines()
    kinds = []
    for label, enroll, test in map(str.split, lines):
        assert (made / DEV / enroll).is_file()
        assert (made / DEV / test).is_file()
        a, b = enroll.split("/"), test.split("/")
        assert label == str(int(a[0] == b[0]))
        kinds.append((label, a[1] == b[1]))
    assert Counter(kinds) == {(k, same): 6 * (2 - int(k)) for k in "01" for same in (True, False)}
    assert len({frozenset(line.split()[1:]) for line in lines}) == len(lines)


def test_too_few_pairs_are_reported():
    dev = [speaker for speaker in plan(settings()) if speaker.split == "dev"]
    lines, remarks = draw_trials(dev, settings("trials.targets=1000").trials, seed=1)
    assert ["same-language targets" in remark for remark in remarks] == [True, False]
    assert len(lines) == len(set(lines))


def test_bytes_depend_neither_on_jobs_nor_on_an_interruption(made, tmp_path):
    out = tmp_path / "corpus"
    command = [sys.executable, "-c", INTERRUPTED, "--out", str(out), "--jobs", "2", *TINY]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 130, done.stderr
    kept = {path: path.stat().st_mtime_ns for path in out.glob("pretrain/mp*/*/*.wav")}
    assert kept
    assert not (out / "corpus.json").exists()
    assert not [path for path in out.rglob("*.partial") if path.is_dir()]

    corpus.make(settings(), out, jobs=2)
    markers = [json.loads((folder / "corpus.json").read_text()) for folder in (out, made)]
    assert markers[0]["sha256"] == markers[1]["sha256"] == corpus.digest(made)
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())


def test_a_finished_corpus_is_left_alone_and_other_folders_are_refused(made, tmp_path, capsys):
    before = (made / "corpus.json").stat().st_mtime_ns
    corpus.make(settings(), made, jobs=1)
    assert "nothing to do" in capsys.readouterr().out
    assert (made / "corpus.json").stat().st_mtime_ns == before
    with pytest.raises(TidyVoiceError, match=r"dev\.speakers; seed.*--out"):
        corpus.make(settings("seed=7", "dev.speakers=5"), made, jobs=1)
    (tmp_path / "precious.txt").write_text("keep")
    assert "nor a built-in corpus" in refused(corpus.make, settings(), tmp_path, jobs=1)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


@pytest.mark.parametrize("override", ["dev.seconds=[4,2]", "dev.languages=[3,9]", "seed=-1"])
def test_bad_settings_are_refused(override):
    assert "corpus.yaml" in refused(settings, override)


def _die(folder):
    os._exit(9)


def test_failures_are_reported(tmp_path):
    with pytest.raises(TidyVoiceError, match="no voice 'xx'"):
        corpus.make(settings("languages=[xx,en,fr,de]"), tmp_path / "corpus", jobs=1)
    with pytest.raises(TidyVoiceError, match="nobody: its process died"):
        list(corpus.run([(_die, tmp_path / "nobody", ())], 1))


def test_without_espeak_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    assert "pip install -e '.[mini]' -c constraints.txt" in refused(espeak.version)
