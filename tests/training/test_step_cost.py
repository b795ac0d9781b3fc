"""The bytes, operations and launches of a training step at full size, counted without a GPU."""

import re
from pathlib import Path

import pytest
import torch
from conftest import require_triton

ROOT = Path(__file__).parents[2]
# Of the step of conf/tidyvoice/pretrain.yaml. Without the kernels and with waits in between it was
# 656 GB and 1,763 launches. Only an intended change may raise these.
MOST_GIGABYTES, MOST_LAUNCHES = 225, 700
MOST_CHANGE = 0.02  # of a time that the documents state


@pytest.fixture(scope="module")
def program():
    require_triton()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        import training_step

        yield training_step


def test_the_pretraining_step_moves_little_and_never_waits(program):
    settings = program.load_experiment(ROOT / "conf/tidyvoice/pretrain.yaml")
    counted = program.count(settings.model_dump_json())
    assert counted.total("bytes") / 1e9 < MOST_GIGABYTES
    assert counted.total("launches") < MOST_LAUNCHES
    assert counted.waits == []


def test_the_modelled_figures_of_the_documents_are_those_of_the_program(program):
    for path in program.FILES:
        before, after = path.read_text(), program.renew(path)
        for old, new in zip(before.split(), after.split(), strict=True):
            if old != new:
                numbers = [float(each.strip(".,").replace(",", "")) for each in (old, new)]
                assert numbers[0] == pytest.approx(numbers[1], rel=MOST_CHANGE), path


@pytest.mark.parametrize(
    ("name", "pattern"),
    [("real-data.md", r"(pretrain\.yaml` \|) \S+"), ("training.md", r"(false \|) \S+")],
)
def test_wrong_figures_of_a_table_are_renewed(program, tmp_path, name, pattern):
    text = (ROOT / "docs" / name).read_text()
    wrong, count = re.subn(pattern, r"\1 99.9", text)
    assert count
    (tmp_path / name).write_text(wrong)
    assert "99.9" not in program.renew(tmp_path / name)


def test_a_training_is_shown_with_its_modelled_times(program, capsys):
    program.show("conf/tidyvoice/finetune.yaml", ["precision=bf16"])
    printed = capsys.readouterr().out
    assert "the host waits 0 times" in printed
    assert "RTX 3090" in printed
    assert ("no GPU here: nothing measured" in printed) != torch.cuda.is_available()
