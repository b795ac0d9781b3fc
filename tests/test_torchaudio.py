"""Only resampling needs torchaudio, which pip may install for another CUDA version than torch's."""

import json
import os
import subprocess
import sys
from importlib import metadata

import pytest
import soundfile
import yaml

BROKEN = "raise RuntimeError('compiled with different CUDA versions')\n"
# Runs each command in one process, in which tidyvoice finds the broken package.
PROGRAM = """
import json, sys
from typer.testing import CliRunner
from tidyvoice.cli import app
for arguments in json.loads(sys.argv[1]):
    result = CliRunner().invoke(app, arguments)
    print(json.dumps([arguments[0], result.exit_code, result.output]), flush=True)
"""


@pytest.fixture
def call(tmp_path):
    (tmp_path / "broken/torchaudio").mkdir(parents=True)
    (tmp_path / "broken/torchaudio/__init__.py").write_text(BROKEN)
    path = os.pathsep.join([str(tmp_path / "broken"), os.environ.get("PYTHONPATH", "")])

    def call(*commands):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, json.dumps([list(map(str, c)) for c in commands])],
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return call


def test_all_but_resampling_works_when_torchaudio_cannot_be_imported(
    call, experiment, tiny, voices, tmp_path
):
    exp, config = tmp_path / "exp", tmp_path / "experiment.yaml"
    experiment |= {"epochs": 1, "epoch_iterations": 2}
    experiment["data"]["speeds"] = [1.0]
    config.write_text(yaml.safe_dump(experiment))
    table, scores = voices / "known.npz", exp / "scores/dev.score"
    model, out = ("--model", voices / "model"), ("--out", tmp_path / "a.npz")
    samples, _ = soundfile.read(voices / "ann-1.wav")
    soundfile.write(tmp_path / "8k.wav", samples[::2], 8000)
    works = [
        ("--help",),
        ("train", config),
        ("extract", *model, "--data", tiny / "train", *out),
        ("score", "--embeddings", table, "--trials", voices / "trials", "--out", scores),
        ("report", exp),
        ("verify", voices / "ann-1.wav", voices / "ann-2.wav", *model),
    ]
    other = ("train", config, "data.speeds=[1.0,0.9]", f"experiment={tmp_path / 'other'}")
    fails = [
        ("verify", voices / "ann-1.wav", tmp_path / "8k.wav", *model),
        other,
        (*other, "--check"),
        ("doctor",),
    ]
    found = call(*works, *fails)
    for command, status, output in found[: len(works)]:
        assert status == 0, (command, output)
    versions = f"torch {metadata.version('torch')} and torchaudio {metadata.version('torchaudio')}"
    *failed, (_, _, doctor) = found[len(works) :]
    for command, status, output in failed:
        (line,) = output.splitlines()
        assert status == 1, command
        assert line.startswith("error: resampling needs torchaudio")
        assert versions in line
        assert line.endswith("run: pip install -e . -c constraints.txt")
    assert not (tmp_path / "other").exists()
    (line,) = (line for line in doctor.splitlines() if "torchaudio" in line)
    assert line.startswith("FAIL  torchaudio: ")
    assert versions in line
    assert line.endswith("run: pip install -e . -c constraints.txt")
