"""Mistakes in a call of run.sh, which stop before the first stage."""

import pytest

from tests.preloaded import shell, succeed
from tests.recipe.support import copy_project


@pytest.fixture(scope="module")
def untouched(tmp_path_factory):
    """A copy of the project in which nothing may be made."""
    folder = copy_project(tmp_path_factory.mktemp("untouched"))
    before = sorted(folder.rglob("*"))
    yield folder
    assert sorted(folder.rglob("*")) == before


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
        ("--recipe tidyvoice --variant publishd", "pairs published small sphereface2_a"),
        ("--recipe mini --set calib_speakers=x", "--set calib_speakers=x: give a number above 0"),
        ("--recipe mini --set large_margin.seed=2", "this run has no such training"),
        (
            "--recipe mini --set pretrain.seed=2 --init-from conf",
            "--set pretrain.seed=2: this run has no pretraining",
        ),
        (
            "--recipe mini --set model.name=ReDimNetB2 model.init=null",
            "ReDimNet with C = 16 takes a multiple of 24 features a frame, not 80",
        ),
        ("--recipe mini --set learning_rate=0.4", "set one of learning_rate.initial_lr, "),
        (
            "--recipe tidyvoice --corpus x --variant published --set calib_speakers=4",
            "--set calib_speakers=4: the variant published trains on all speakers; leave it out",
        ),
        ("--recipe mini --processes two", "--processes two: give a number above 0"),
        ("--recipe mini --set normalize=znorm", "there are language, asnorm, snorm"),
        ("--recipe mini --sed 1", "unknown option --sed"),
        ("--recipe mini --set finetune.margn.final_margin=1", "margn: did you mean margin?"),
        ("--recipe mini --set topn=30", "--set topn=30: did you mean top_n=VALUE?"),
        ("--recipe mini --set calib-targets=30", "did you mean calib_targets=VALUE?"),
        ("--recipe mini --set average=4", "epochs is 3, and 4 epochs are to be averaged"),
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
    assert result.returncode in (1, 2)
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
