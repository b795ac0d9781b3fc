"""Mistakes in a call of run.sh, which stop before the first stage."""

import pytest

from tests.preloaded import shell, succeed
from tests.recipe.support import copy_project


@pytest.fixture(scope="module")
def untouched(tmp_path_factory):
    """A copy of the project in which no file may be written."""
    folder = copy_project(tmp_path_factory.mktemp("untouched"))
    files = lambda: {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}  # noqa: E731
    before = files()
    yield folder
    assert files() == before


def test_without_arguments_it_lists_and_starts_nothing(untouched):
    for word in ("--stop-stage", "backends=", "  7  fit the back end, calibrate"):
        assert word in succeed("./run.sh", untouched)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--recipe none", "--recipe none: there are mini, tidyvoice"),
        ("--recipe mini --stage 9", "--stage 9 --stop-stage 8: stages are 1 to 8"),
        ("--recipe mini --stage 6 --stop-stage 5", "--stop-stage 5: stages are 1 to 8"),
        ("--recipe mini --variant contast", "--variant contast: there is no conf/variants/contast"),
        ("--recipe mini --calib-speakers x", "--calib-speakers x: give a whole number"),
        ("--recipe mini --set large_margin.seed=2", "unknown key large_margin"),
        ("--recipe mini --top-n 30", "unknown option --top-n"),
        ("--recipe mini --languages en", "--languages en: there are guessed, known, none"),
        ("--recipe mini --backends svm", "--backends 'svm': write some of centre, nap, lda, plda"),
        ("--recipe mini --set seed", "--set seed: write KEY=VALUE"),
        ("--recipe", "--recipe needs a value"),
        ("--recipe mini --init-from nowhere", "nowhere: no folder"),
        ("--recipe tidyvoice --stage 2 --init-from conf --from-released", "without --init-from"),
        ("--recipe mini --stage 5 --set corpus.seed=2", "unknown key corpus"),
        ("--recipe mini --stage 4", "exp/mini/pretrain/models is missing: run stage 3"),
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
        ("--from-released", ("TidyVoiceX_Dev", "trialPairs.txt")),
    ):
        first, *lines = shell(f"{line} {options}", untouched).stderr.strip().splitlines()
        assert first == f"error: missing inputs, {len(missing)} in all:"
        assert all(f"{name}: " in said for name, said in zip(missing, lines, strict=True))
