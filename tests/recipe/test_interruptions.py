"""Missing files, Ctrl-C and full disks: a stage ends in one line and the same command resumes."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import small_disk

from tests.preloaded import shell, start, succeed
from tests.recipe.support import RECIPE


@pytest.mark.parametrize(("processes", "sent"), [(2, signal.SIGINT), (1, signal.SIGTERM)])
def test_a_signal_ends_a_stage_in_one_line_and_the_next_run_goes_on(own, processes, sent):
    command = f"{RECIPE} --processes {processes} --exp exp/cut --stage 3 --stop-stage 3"
    command += " --set epochs={}"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    trained = own / "exp/cut/pretrain"
    resumed = lambda: "resuming at step" in (trained / "log/train.log").read_text()  # noqa: E731
    for reached in ((trained / "models/model_0002.pt").exists, resumed):
        # As a terminal sends Ctrl-C: the signal goes to run.sh and to all it has started.
        process = start(
            *("bash", "-c", command.format(3000)),
            cwd=own,
            env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            # Tests started in the background inherit a SIGINT that is ignored, a terminal's do not.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        while process.poll() is None and not reached():
            time.sleep(0.05)
        os.killpg(process.pid, sent)
        _, error = process.communicate(timeout=60)
        assert process.returncode in (130, -signal.SIGTERM), error
        message = "interrupted: finished work is kept; run the same command again to resume"
        assert error.strip() == message
    refused = shell(command.format(4), own)
    assert refused.returncode == 1
    assert "epochs was 3000, is 4" in refused.stderr


@pytest.mark.parametrize("stage", [1, 3])
def test_a_full_disk_ends_a_stage_in_one_line_and_the_next_run_goes_on(own, stage):
    disk = own / "disk"
    corpus = "data/mini/corpus" if stage > 1 else f"{disk}/corpus"
    command = (
        f"{RECIPE} --stage {stage} --stop-stage {stage} --corpus {corpus} "
        f"--data {disk}/data --exp {disk}/exp"
    )
    with small_disk(disk, "100m"):
        if stage > 1:
            shutil.copytree(own / "data/mini", disk / "data", ignore=lambda *_: ["corpus"])
        filling = disk / "filling"
        filling.write_bytes(bytes(shutil.disk_usage(disk).free - 4096))
        failed = shell(command, own)
        assert failed.returncode in (1, 2), failed.stdout + failed.stderr
        (error,) = failed.stderr.strip().splitlines()
        assert error.startswith("error: the disk is full")
        filling.unlink()
        succeed(command, own)
