"""The recipe, and every command of README and docs, in a copy of the project with tiny settings."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from conftest import require, small_disk, write_clear_voices

from local.mini.settings import Settings
from tests.preloaded import shell, succeed
from tidyvoice.config import Experiment
from tidyvoice.settings import load_settings

ROOT = Path(__file__).parent.parent
# The smallest size; .ci/run gives the same settings to the project's own run.sh.
TINY = (ROOT / "tests" / "tiny_recipe.txt").read_text().split()
RECIPE = "./run.sh --recipe mini"
CORPUS = [value for value in TINY if value.startswith("corpus.")]
SETTINGS = re.findall(r"^(\w+)=", (ROOT / "conf/mini/recipe.sh").read_text(), re.MULTILINE)


def shrink(conf: Path) -> None:
    """Write the tiny settings into the YAML files of a copy of ``conf``."""
    corpus = [value.removeprefix("corpus.") for value in CORPUS]
    recipe = [value for value in TINY if value.partition("=")[0] in SETTINGS]
    training = [value for value in TINY if value not in (*recipe, *CORPUS)]
    for path in conf.glob("*/*.yaml"):
        if "experiment:" not in path.read_text() and path.name != "corpus.yaml":
            continue  # no settings of a training
        of_corpus = path.name == "corpus.yaml"
        model, values = (Settings, corpus) if of_corpus else (Experiment, training)
        settings = load_settings(model, path, values)
        path.write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    for path in conf.glob("*/recipe.sh"):
        path.write_text("\n".join([path.read_text(), *recipe]))


def copy_project(folder: Path) -> Path:
    shutil.copytree(ROOT / "conf", folder / "conf")
    shrink(folder / "conf")
    shutil.copy(ROOT / "run.sh", folder)
    (folder / "local").symlink_to(ROOT / "local")
    return folder


def documented_commands() -> list[str]:
    """README's, in order, then those of docs, which may need what README's leave."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    text = "\n".join(page.read_text() for page in pages)
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A copy of the project in which the recipe was run; and what it printed. Read only.

    A.wav and B.wav are of one speaker, C.wav is of another.
    """
    require(bool(find_spec("espeakng_loader")), "the built-in corpus needs pip install -e .[mini]")
    folder = copy_project(tmp_path_factory.mktemp("recipe"))
    corpus = folder / "data/mini/corpus"
    made = shell(f"{RECIPE} --stop-stage 1", folder)
    assert made.returncode == 0, made.stdout + made.stderr
    for part in ("pretrain", "TidyVoiceX_ASV/TidyVoiceX_Train", "TidyVoiceX_ASV/TidyVoiceX_Dev"):
        write_clear_voices(corpus / part, seconds=1.2)
    result = shell(RECIPE, folder)
    assert result.returncode == 0, result.stdout + result.stderr
    one, other = sorted((corpus / "TidyVoiceX_ASV/TidyVoiceX_Dev").iterdir())[:2]
    wavs = [*sorted(one.rglob("*.wav"))[:2], min(other.rglob("*.wav"))]
    for name, wav in zip("ABC", wavs, strict=True):
        shutil.copy(wav, folder / f"{name}.wav")
    return folder, result.stdout


@pytest.fixture
def own(finished, tmp_path):
    """A copy of the finished recipe that a test may change."""
    return Path(shutil.copytree(finished[0], tmp_path / "own", symlinks=True))


@pytest.fixture(scope="module")
def untouched(tmp_path_factory):
    """A copy of the project in which nothing may be made."""
    folder = copy_project(tmp_path_factory.mktemp("untouched"))
    before = sorted(folder.rglob("*"))
    yield folder
    assert sorted(folder.rglob("*")) == before


def test_it_ends_with_the_table_and_the_report(finished):
    folder, out = finished
    table = out[out.rindex("system ") :]
    for column in ("EER %", "minDCF", "different/same", "same/same"):
        assert column in table
    for system in ("+ calibrated", "+ normalised", "fine-tuned", "pretrained"):
        assert re.search(rf"^{re.escape(system)}(\s+[\d.-]+){{8}}$", out, re.MULTILINE), system
    assert "report: exp/mini/finetune/report.html" in out
    page = (folder / "exp/mini/finetune/report.html").read_text()
    assert "pretrain" in page
    assert "<svg" in page


def test_it_leaves_the_promised_files(finished):
    folder, _ = finished
    for part in ("pretrain", "finetune", "calib", "dev", "noise", "rirs"):
        assert (folder / "data/mini" / part / "wav.scp").stat().st_size > 0
    for system in ("pretrain", "finetune"):
        exp = folder / "exp/mini" / system
        for name in (
            "config.yaml", "log/train.log", "log/train.jsonl", "models/avg_model.pt",
            "models/config.yaml", "models/speakers.txt", "embeddings/dev.npz", "scores/dev.score",
        ):  # fmt: skip
            assert (exp / name).stat().st_size > 0
    assert not list(folder.rglob("*.partial"))
    log = (folder / "exp/mini/finetune/log/train.log").read_text()
    assert "the loss head is new" in log


def test_no_speaker_is_in_two_splits(finished):
    folder, _ = finished
    seen: set[str] = set()
    for name in ("pretrain", "finetune", "calib", "dev"):
        lines = (folder / "data/mini" / name / "spk2utt").read_text().splitlines()
        speakers = {line.split()[0] for line in lines}
        assert not seen & speakers
        seen |= speakers
    trained = (folder / "exp/mini/finetune/models/speakers.txt").read_text().split()
    assert len(trained) == 8 + 8  # those of the pretraining as well
    assert len(seen) == 8 + 14 + 8


def test_a_finished_recipe_is_left_alone(finished, own):
    model = own / "exp/mini/finetune/models/avg_model.pt"
    before = model.stat().st_mtime_ns
    again = succeed(RECIPE, own)
    assert model.stat().st_mtime_ns == before
    first = finished[1]
    assert first[first.rindex("system ") : first.index("done in")] in again


def test_what_depends_on_a_change_is_made_again(own):
    stages = f"{RECIPE} --stage 5 --stop_stage 6 --set average=2"
    changed = succeed(stages, own)
    for command in ("average", "extract", "score"):
        assert f"+ tidyvoice {command}" in changed
    (own / "data/mini/corpus/TidyVocieX_Dev_trialPairs.txt").touch()
    changed = succeed(stages, own)
    assert "+ tidyvoice score" in changed
    assert "+ tidyvoice extract" not in changed
    (own / "exp/mini/finetune/scores/dev.score").unlink()
    assert succeed(stages, own).count("+ tidyvoice score") == 1


def test_another_corpus_takes_the_place_of_the_one_before(own):
    line = (
        "./run.sh --recipe tidyvoice --corpus {} --init-from exp/mini/pretrain/models "
        "--data data/other --exp exp/other --set calib_speakers=10 counts=any --stop-stage 2"
    )
    succeed(line.format("data/mini/corpus"), own)
    moved = own / "elsewhere"
    moved.symlink_to(own / "data/mini/corpus")
    second = succeed(line.format(moved), own)
    assert str(moved) in (own / "data/other/dev/wav.scp").read_text()
    assert second.count("written") == 3


def test_the_python_of_the_readme_runs(own):
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    (own / "readme.py").write_text(code)
    succeed("python readme.py", own)


def test_every_documented_command_runs(own):
    first, second, *others = documented_commands()
    set_up = "python3 -m venv .venv && .venv/bin/pip install -e '.[{}]' -c constraints.txt && {}"
    assert first == set_up.format("mini", RECIPE)
    assert second == set_up.format("test", ".venv/bin/pytest")  # run by .ci/run
    assert len(others) > 20
    sizes = dict(value.split("=") for value in TINY if value.split("=")[0] in SETTINGS)
    for command in dict.fromkeys(others):
        real = command.replace(" MODEL", " exp/mini/pretrain/models")
        # Of the corpora of videos the built-in one has only the form.
        real = real.replace("DIR/voxblink2", "data/mini/corpus/pretrain")
        real = real.replace(" DIR", " data/mini/corpus")
        # Its lists are not as long as the challenge's, and there is no network here.
        if "--recipe tidyvoice" in real:
            real += " --set counts=any top_n=5 calib_targets=40 calib_nontargets=60"
        if real.endswith("from-released") or " --from-released " in real:
            real = real.replace(
                "--from-released", "--from-released exp/mini/finetune/models --data data/released"
            )
        for option, name in (
            ("top-n", "top_n"), ("targets", "calib_targets"), ("nontargets", "calib_nontargets")
        ):  # fmt: skip
            real = re.sub(rf"--{option} \d+", f"--{option} {sizes[name]}", real)
        succeed(real, own)
    assert (own / "exp/wider/finetune/report.html").exists()
    assert "final_margin: 0.4" in (own / "exp/wider/finetune/config.yaml").read_text()
    assert "final_margin: 0.2" in (own / "exp/wider/pretrain/config.yaml").read_text()
    assert (own / "exp/tidyvoice/finetune/report.html").exists()


def test_a_missing_wav_stops_with_its_name_and_the_next_run_goes_on(own):
    table = own / "exp/mini/finetune/embeddings/dev.npz"
    table.unlink()
    wav = next((own / "data/mini/corpus/TidyVoiceX_ASV/TidyVoiceX_Dev").rglob("*.wav"))
    hidden = wav.rename(wav.with_suffix(".hidden"))
    stage = f"{RECIPE} --stage 5 --stop-stage 5"
    failed = shell(stage, own)
    hidden.rename(wav)
    assert failed.returncode != 0
    assert f"error: {wav.relative_to(own)} is missing" in failed.stderr
    assert not table.exists()
    succeed(stage, own)
    assert table.exists()


def test_ctrl_c_ends_a_stage_in_one_line_and_the_next_run_goes_on(own):
    # Exactly as a terminal does it: the signal goes to run.sh and to all it has started.
    command = f"{RECIPE} --exp exp/cut --stage 3 --stop-stage 3 --set epochs={{}}"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    process = subprocess.Popen(
        ["bash", "-c", command.format(3000)],
        env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=own,
        start_new_session=True,
        # Tests started in the background inherit a SIGINT that is ignored, a terminal's do not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    reached = own / "exp/cut/pretrain/models/model_0002.pt"
    while process.poll() is None and not reached.exists():
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert error.strip() == "interrupted; what is finished is kept, the same command goes on"
    refused = shell(command.format(4), own)
    assert refused.returncode == 1
    assert "epochs was 3000, is 4" in refused.stderr


@pytest.mark.parametrize("stage", [1, 2, 3, 5, 6])
def test_a_full_disk_ends_a_stage_in_one_line_and_the_next_run_goes_on(own, stage):
    disk = own / "disk"
    corpus = "data/mini/corpus" if stage > 1 else f"{disk}/corpus"
    command = (
        f"{RECIPE} --stage {stage} --stop-stage {stage} --corpus {corpus} "
        f"--data {disk}/data --exp {disk}/exp"
    )
    with small_disk(disk, "100m"):
        if stage > 1:
            unwanted = shutil.ignore_patterns("corpus", "shards" if stage == 2 else "scores")
            shutil.copytree(own / "data/mini", disk / "data", ignore=unwanted)
        if stage > 3:
            unwanted = shutil.ignore_patterns("scores", "embeddings" if stage == 5 else "report*")
            shutil.copytree(own / "exp/mini", disk / "exp", ignore=unwanted)
        filling = disk / "filling"
        filling.write_bytes(bytes(shutil.disk_usage(disk).free - 4096))
        failed = shell(command, own)
        assert failed.returncode == 1, failed.stdout + failed.stderr
        error = failed.stderr.strip().splitlines()
        assert len(error) == 1, failed.stderr
        assert error[0].startswith("error: the disk is full")
        filling.unlink()
        succeed(command, own)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("finetune.margn.final_margin=0.4", "unknown key margn: did you mean margin?"),
        ("topn=30", "--set topn=30: did you mean top_n=VALUE?"),
        ("calib-targets=30", "--set calib-targets=30: did you mean calib_targets=VALUE?"),
        ("average=4", "pretrain.yaml: epochs is 3, and 4 epochs are to be averaged: set epochs"),
    ],
)
def test_a_wrong_setting_stops_before_the_first_stage(untouched, setting, said):
    result = shell(f"{RECIPE} --set {setting}", untouched)
    assert result.returncode in (1, 2)
    (error,) = result.stderr.splitlines()
    assert said in error
    assert "== stage" not in result.stdout


def test_the_example_gives_the_score_of_the_recipe(finished):
    folder, _ = finished
    exp, corpus = "exp/mini/finetune", "data/mini/corpus/TidyVoiceX_ASV/TidyVoiceX_Dev"
    first, second, score, _ = (folder / exp / "scores/dev.score").read_text().split("\n")[0].split()
    said = succeed(
        f"python {ROOT}/examples/compare_two_recordings/compare.py --model {exp}/models "
        f"{corpus}/{first} {corpus}/{second}",
        folder,
    )
    found = re.search(r"^score (\S+)", said, re.MULTILINE)[1]
    assert float(found) == pytest.approx(float(score), abs=1e-3)
    assert "log-likelihood ratio" in said


def test_a_metrics_table_is_machine_readable(finished):
    said = succeed("tidyvoice metrics exp/mini/finetune/scores/dev.score --json", finished[0])
    rows = json.loads(said)["categories"]
    assert [row["targets"] for row in rows][:2] == [40, 20]


def test_without_arguments_it_lists_and_starts_nothing(untouched):
    said = succeed("./run.sh", untouched)
    for word in ("mini", "tidyvoice", "stages", "--stop-stage"):
        assert word in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--recipe none", "no recipe is called none: there are mini, tidyvoice"),
        ("--recipe mini --stage 9", "stages are 1 to 8, not 9"),
        ("--recipe mini --stage 8", "the recipe mini has the stages 1 to 7"),
        ("--recipe mini --variant contast", "there are adversary am_softmax balanced_languages"),
        ("--recipe mini --set large_margin.seed=2", "the recipe mini has no such training"),
        ("--recipe mini --processes two", "--processes two: give a number above 0"),
        ("--recipe mini --set normalize=znorm", "there are language, asnorm, snorm"),
        ("--recipe mini --sed 1", "unknown option --sed"),
        ("--recipe mini --set seed", "--set seed: write KEY=VALUE"),
        ("--stage 1", "give --recipe"),
        ("--recipe", "--recipe needs a value"),
        ("--recipe mini --set --stage 1", "--set needs a value"),
        ("--recipe mini --init-from nowhere", "--init-from nowhere: no such model"),
        ("--recipe tidyvoice", "--corpus: give the folder"),
        ("--recipe tidyvoice --corpus x --init-from conf --from-released", "--init-from or --from"),
        ("--recipe tidyvoice --corpus x --from-released --set seed=1", "released trains nothing"),
        ("--recipe mini --stage 5 --set corpus.seed=2", "is made by stage 1 of the recipe mini"),
        ("--recipe mini --stage 4 --stop-stage 4", "exp/mini/pretrain/models: run the stages"),
    ],
)
def test_a_wrong_call_says_what_is_right(untouched, arguments, message):
    result = shell(f"./run.sh {arguments}", untouched)
    assert result.returncode == 2
    (error,) = result.stderr.splitlines()
    assert message in error


def test_all_that_is_missing_is_said_at_once(untouched):
    line = "./run.sh --recipe tidyvoice --corpus nowhere --stop-stage 1"
    for options, missing in (
        ("", ("TidyVoiceX_Dev", "TidyVoiceX_Train", "trialPairs.txt", "voxceleb2", "voxblink2")),
        ("--init-from conf", ("TidyVoiceX_Dev", "TidyVoiceX_Train", "trialPairs.txt")),
        ("--from-released", ("TidyVoiceX_Dev", "trialPairs.txt")),
    ):
        result = shell(f"{line} {options}", untouched)
        assert result.returncode == 2
        first, *lines = result.stderr.strip().splitlines()
        assert first == f"error: missing inputs, {len(missing)} in all:"
        assert all(name in said and ": " in said for name, said in zip(missing, lines, strict=True))
