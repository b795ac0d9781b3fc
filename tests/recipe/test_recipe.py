"""Output and files of the finished recipe, and the effect of running it a second time."""

import re
import shutil

import pytest

from tests.preloaded import shell, succeed
from tests.recipe.support import RECIPE, ROOT
from tidyvoice import SpeakerEncoder


def commands(printed):
    """The subcommands of tidyvoice that the recipe started."""
    return set(re.findall(r"^\+ (?:tidyvoice|.* -m tidyvoice) (\S+)", printed, re.MULTILINE))


def test_it_ends_with_the_table_and_the_report(finished):
    folder, out = finished
    for column in ("EER %", "minDCF", "different/same", "same/same"):
        assert column in out[out.rindex("system ") :]
    compared = "fine-tuned, back end"
    for system in (f"{compared}, calibrated", compared, "fine-tuned", "pretrained"):
        assert re.search(rf"^{re.escape(system)}(\s+[\d.-]+){{8}}$", out, re.MULTILINE), system
    assert "report: exp/mini/finetune/report.html" in out
    for remark in ("IN-SAMPLE", "CONFOUNDED", "not checked"):
        assert remark not in out
    page = (folder / "exp/mini/finetune/report.html").read_text()
    assert "pretrain" in page
    assert "<svg" in page
    assert not list(folder.rglob("*.partial"))
    assert "the loss head is new" in (folder / "exp/mini/finetune/log/train.log").read_text()


def test_no_speaker_is_in_two_splits(finished):
    folder, _ = finished
    files = [folder / f"data/mini/{n}/spk2utt" for n in ("pretrain", "finetune", "calib", "dev")]
    speakers = [line.split()[0] for file in files for line in file.read_text().splitlines()]
    assert len(speakers) == len(set(speakers)) == 8 + 14 + 8
    trained = (folder / "exp/mini/finetune/models/speakers.txt").read_text().split()
    assert len(trained) == 8 + 8  # those of the pretraining as well


def test_a_finished_recipe_is_left_alone(finished, own):
    model = own / "exp/mini/finetune/models/avg_model.pt"
    before = model.stat().st_mtime_ns
    again = succeed(RECIPE, own)
    assert model.stat().st_mtime_ns == before
    assert "  data/mini/finetune/shards is up to date" in again
    assert "shards written" not in again
    first = finished[1]
    assert first[first.rindex("system ") : first.index("== stage 8")] in again
    assert "other code" not in again
    assert not commands(again)


def test_changed_code_scores_again_and_keeps_data_and_trainings(own):
    (own / "local").unlink()
    shutil.copytree(ROOT / "local", own / "local")
    with open(own / "local/musan.py", "a") as file:
        file.write("# edited\n")
    stages = f"{RECIPE} --stop-stage 6"
    changed = succeed(stages, own)
    assert commands(changed) == {"average", "extract", "score", "report"}
    for stage in (1, 2, 3, 4):
        assert f"other code made it, and --force --stage {stage} --stop-stage {stage}" in changed
    assert not commands(succeed(stages, own))


def test_force_makes_finished_stages_again_and_keeps_what_took_long(own):
    shards, finetune = own / "data/mini/finetune/shards", own / "exp/mini/finetune"
    inode, log = shards.stat().st_ino, (finetune / "log/train.log").read_text()
    stage = f"{RECIPE} --stage {{0}} --stop-stage {{0}}"
    assert succeed(f"{stage.format(2)} --force", own).count(" shards written") == 4
    assert shards.with_name("shards.1").stat().st_ino == inode
    # Other settings need no other folder, because the training starts in a new one.
    forced = succeed(f"{stage.format(4)} --force --set finetune.clip_gradient=5", own)
    assert "  exp/mini/finetune is kept as exp/mini/finetune.1;" in forced
    assert (own / "exp/mini/finetune.1/log/train.log").read_text() == log
    assert "resuming" not in (finetune / "log/train.log").read_text()
    assert commands(succeed(stage.format(5), own)) == {"average", "extract"}


@pytest.mark.parametrize(
    ("change", "setting"),
    [
        ("--variant contrast", "finetune started with other settings (data.sampler.args.pairs"),
        ("--set model.args.in_planes=8", "pretrain started with other settings (model.args.in_p"),
    ],
)
def test_other_settings_need_a_folder_of_their_own(finished, change, setting):
    result = shell(f"{RECIPE} {change}", finished[0])
    assert result.returncode == 1
    assert "stage" not in result.stdout
    (error,) = result.stderr.splitlines()
    assert error.startswith(f"error: exp/mini/{setting}")
    assert "./run.sh --exp DIR" in error


def test_what_depends_on_a_change_is_made_again(own):
    stages = f"{RECIPE} --stage 4 --stop_stage 6 --set average=2"
    changed = succeed(stages, own)
    for command in ("average", "extract", "score"):
        assert f"+ tidyvoice {command}" in changed
    (own / "data/mini/corpus/TidyVocieX_Dev_trialPairs.txt").touch()
    changed = succeed(stages, own)
    assert "+ tidyvoice score" in changed
    assert "+ tidyvoice extract" not in changed
    (own / "exp/mini/finetune/scores/dev.score").unlink()
    assert succeed(stages, own).count("+ tidyvoice score") == 1


def test_python_gives_the_score_of_the_recipe(finished):
    folder, _ = finished
    exp, corpus = "exp/mini/finetune", "data/mini/corpus/TidyVoiceX_ASV/TidyVoiceX_Dev"
    first, second, score, _ = (folder / exp / "scores/dev.score").read_text().split("\n")[0].split()
    encoder = SpeakerEncoder.from_pretrained(folder / exp / "models", "cpu")
    paths = folder / corpus / first, folder / corpus / second
    assert encoder.similarity(*paths) == pytest.approx(float(score), abs=1e-3)
    # Stage 7 fits the verifier's back end to the fine-tuning speakers, who are its cohort.
    assert len(encoder.verifier.backend.cohort.vectors) == 8
    assert encoder.verify(*paths).llr is not None
