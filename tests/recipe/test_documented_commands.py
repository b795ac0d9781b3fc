"""Every command of README and docs, in a copy of the finished recipe."""

import re

import pytest

from tests.preloaded import succeed
from tests.recipe.support import OPTIONS, RECIPE, ROOT

RELEASED = "areffarhadi/Resnet34-tidyvoiceX-ASV"  # there is no network here


def documented_commands() -> list[str]:
    """README's, in order, then those of docs, which may need what README's leave."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    text = "\n".join(page.read_text() for page in pages)
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize("page", ["README.md", "docs/models.md"])
def test_the_python_of_a_page_runs(own, page):
    code = re.search(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)[1]
    assert (RELEASED in code) == (page == "README.md")
    (own / "page.py").write_text(code.replace(RELEASED, "exp/mini/finetune/models"))
    succeed("python page.py", own)


def test_every_documented_command_runs(own):
    first, second, *others = documented_commands()
    set_up = "python3 -m venv .venv && .venv/bin/pip install -e '.[{}]' -c constraints.txt && {}"
    assert first == set_up.format("mini", RECIPE)
    assert second == set_up.format("test", ".venv/bin/pytest")  # run by .ci/run
    assert len(others) > 20
    for command in dict.fromkeys(others):
        real = command.replace(" MODEL", " exp/mini/pretrain/models")
        real = real.replace("DIR/voxblink2", "data/mini/corpus/pretrain")  # of the same form
        real = real.replace(" DIR", " data/mini/corpus")
        # Its lists are not as long as the challenge's, and there is no network here.
        if "--recipe tidyvoice" in real:
            real += " --counts any --dimensions 4 --calib-targets 40 --calib-nontargets 60"
        released = "--from-released exp/mini/finetune/models --data data/released"
        real = re.sub(r"--from-released(?= |$)", released, real)
        for name, value in {**OPTIONS, "top-n": "4"}.items():
            option = name.removeprefix("calib-")
            real = re.sub(rf"--{option} \d+( \d+)*", f"--{option} {value}", real)
        succeed(real, own)
    assert (own / "exp/wider/finetune/report.html").exists()
    assert "final_margin: 0.4" in (own / "exp/wider/finetune/config.yaml").read_text()
    assert "final_margin: 0.2" in (own / "exp/wider/pretrain/config.yaml").read_text()
    assert (own / "exp/tidyvoice/finetune/report.html").exists()
