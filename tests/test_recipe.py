"""The recipe through run.sh, at a size of seconds."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import require

ROOT = Path(__file__).parent.parent
# The smallest size, also run by .ci/run.
TINY = (Path(__file__).parent / "tiny_recipe.txt").read_text().split()


def run(folder: Path, *arguments: str, settings: list[str] = TINY) -> subprocess.CompletedProcess:
    command = [ROOT / "run.sh", *arguments, "--data", folder / "data", "--exp", folder / "exp"]
    # The interpreter of the tests, whatever else is on the path.
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        [str(part) for part in [*command, "--set", *settings]],
        env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        cwd=folder,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    try:
        import espeakng_loader  # noqa: F401
    except ImportError:
        require(False, "the built-in corpus needs pip install -e .[mini]")
    folder = tmp_path_factory.mktemp("recipe")
    result = run(folder, "--recipe", "mini", "--seed", "5")
    assert result.returncode == 0, result.stdout + result.stderr
    return folder, result.stdout


def test_it_ends_with_the_table_and_the_report(finished):
    folder, out = finished
    table = out[out.index("system") :]
    for column in ("EER %", "minDCF", "different/same", "same/same"):
        assert column in table
    number = r"\s+[\d.]+"
    for system in ("finetune", "pretrain"):
        assert re.search(rf"^{system}{number * 6}$", table, re.MULTILINE)
    assert f"report: {folder / 'exp/finetune/report.html'}" in out
    page = (folder / "exp/finetune/report.html").read_text()
    assert "pretrain" in page
    assert "<svg" in page


def test_it_leaves_what_the_design_promises(finished):
    folder, _ = finished
    for part in ("pretrain", "finetune", "calib", "dev", "noise", "rirs"):
        assert (folder / "data" / part / "wav.scp").stat().st_size > 0
    for system in ("pretrain", "finetune"):
        exp = folder / "exp" / system
        for name in (
            "config.yaml", "log/train.log", "log/train.jsonl", "models/avg_model.pt",
            "models/config.yaml", "models/speakers.txt", "embeddings/dev.npz", "scores/dev.score",
        ):  # fmt: skip
            assert (exp / name).stat().st_size > 0
        assert "seed: 5" in (exp / "config.yaml").read_text()
    assert not list(folder.rglob("*.partial"))
    trained = {
        name: set((folder / "data" / name / "spk2utt").read_text().split()[::4])
        for name in ("pretrain", "finetune", "calib", "dev")
    }
    assert not trained["finetune"] & trained["calib"]
    log = (folder / "exp/finetune/log/train.log").read_text()
    assert "the loss head is new" in log


def test_a_finished_recipe_is_left_alone(finished):
    folder, first = finished
    model = folder / "exp/finetune/models/avg_model.pt"
    before = model.stat().st_mtime_ns
    again = run(folder, "--recipe", "mini", "--seed", "5")
    assert again.returncode == 0, again.stderr
    assert model.stat().st_mtime_ns == before
    assert "is there" in again.stdout
    assert first[first.index("system") : first.index("done in")] in again.stdout


def test_only_what_is_missing_is_made_again(finished):
    folder, _ = finished
    (folder / "exp/finetune/scores/dev.score").unlink()
    result = run(folder, "--recipe", "mini", "--seed", "5", "--stage", "6", "--stop_stage", "6")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("tidyvoice score") == 1


def test_the_same_stages_run_on_a_corpus_on_disk_from_a_pretrained_model(finished, tmp_path):
    """The recipe tidyvoice, on the built-in corpus in the place of the real one."""
    folder, _ = finished
    settings = [value for value in TINY if not value.startswith("corpus.")]
    result = run(
        tmp_path, "--recipe", "tidyvoice", "--corpus", str(folder / "data/corpus"),
        "--init-from", str(folder / "exp/pretrain/models"), "--seed", "5",
        settings=[*settings, "model.embed_dim=128", "device=cpu"],
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"^finetune(\s+[\d.]+){6}$", result.stdout, re.MULTILINE)


def test_a_missing_wav_stops_with_its_name_and_the_next_run_goes_on(finished, tmp_path):
    folder, _ = finished
    shutil.copytree(folder / "exp", tmp_path / "exp")
    shutil.rmtree(tmp_path / "exp/finetune/embeddings")
    wav = next((folder / "data/corpus/TidyVoiceX_ASV/TidyVoiceX_Dev").rglob("*.wav"))
    shutil.copytree(folder / "data/dev", tmp_path / "data/dev")
    shutil.copytree(folder / "data/finetune", tmp_path / "data/finetune")
    hidden = wav.rename(wav.with_suffix(".hidden"))
    try:
        stage = ("--recipe", "mini", "--stage", "5", "--stop-stage", "5")
        failed = run(tmp_path, *stage)
        assert failed.returncode != 0
        assert f"error: {wav} is missing" in failed.stderr
        assert not list((tmp_path / "exp/finetune").rglob("dev.npz"))
    finally:
        hidden.rename(wav)
    assert run(tmp_path, *stage).returncode == 0
    assert (tmp_path / "exp/finetune/embeddings/dev.npz").exists()


def test_without_arguments_it_lists_and_starts_nothing(tmp_path):
    result = subprocess.run([ROOT / "run.sh"], capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 0
    for word in ("mini", "tidyvoice", "stages", "--stop-stage"):
        assert word in result.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe", "none"], "no recipe is called none: there are mini, tidyvoice"),
        (["--recipe", "mini", "--stage", "9"], "stages are 1 to 6, not 9"),
        (["--recipe", "mini", "--sed", "1"], "unknown option --sed"),
        (["--stage", "1"], "give --recipe"),
        (["--recipe", "tidyvoice"], "--corpus: give the folder"),
        (["--recipe", "tidyvoice", "--corpus", "/nowhere"], "missing: /nowhere/TidyVoiceX_ASV"),
    ],
)
def test_a_wrong_call_says_what_is_right(tmp_path, arguments, message):
    result = run(tmp_path, *arguments, settings=["seed=1"])
    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
