"""Only resampling needs torchaudio, which pip may install for another CUDA version than torch's."""

import json
import os
import subprocess
import sys
from importlib import metadata

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
    print(json.dumps([result.exit_code, result.output]), flush=True)
"""


def test_all_but_resampling_works_when_torchaudio_cannot_be_imported(
    experiment, tiny, voices, tmp_path
):
    (tmp_path / "torchaudio").mkdir()
    (tmp_path / "torchaudio/__init__.py").write_text(BROKEN)
    experiment |= {"epochs": 1, "epoch_iterations": 2}
    experiment["data"]["speeds"] = [1.0]
    config = tmp_path / "experiment.yaml"
    config.write_text(yaml.safe_dump(experiment))
    samples, _ = soundfile.read(voices / "ann-1.wav")
    soundfile.write(tmp_path / "8k.wav", samples[::2], 8000)
    model = ("--model", voices / "model")
    works = [
        ("train", config),
        ("extract", *model, "--data", tiny / "train", "--out", tmp_path / "a.npz"),
        ("verify", voices / "ann-1.wav", voices / "ann-2.wav", *model),
    ]
    fails = [
        ("verify", voices / "ann-1.wav", tmp_path / "8k.wav", *model),
        ("train", config, "data.speeds=[1.0,0.9]", f"experiment={tmp_path / 'other'}"),
        ("doctor",),
    ]
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    commands = json.dumps([[str(word) for word in command] for command in works + fails])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, commands],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [status for status, _ in results] == [0, 0, 0, 1, 1, 1], results
    assert not (tmp_path / "other").exists()
    versions = f"torch {metadata.version('torch')} and torchaudio {metadata.version('torchaudio')}"
    for (_, output), begin in zip(
        results[3:], ("error: ", "error: ", "FAIL  torchaudio: "), strict=True
    ):
        (line,) = (line for line in output.splitlines() if "torchaudio" in line)
        assert line.startswith(f"{begin}resampling needs torchaudio")
        assert versions in line
        assert line.endswith("run: pip install -e . -c constraints.txt")
