"""examples/reproduce-baseline in miniature: its README's commands, a Hub on this machine."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import fill_weights, write_corpus

from tests.fake_hub import REPOSITORY, fake_hub
from tests.preloaded import shell
from tests.releases import write_release
from tidyvoice.evaluation.categories import evaluate
from tidyvoice.models import build_model
from tidyvoice.scoring.embeddings import load_embeddings
from tidyvoice.scoring.groups import languages_of
from tidyvoice.scoring.lineage import read_lineage
from tidyvoice.scoring.trials import read_scores

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples/reproduce-baseline"
SCRIPT = "examples/reproduce-baseline/run.sh"


def speakers_called(root, prefix):
    for folder in sorted(root.iterdir()):
        folder.rename(root / f"{prefix}{folder.name[-4:]}")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """TidyVoiceX dev and train and VoxCeleb2 dev, of two or three speakers each."""
    root = tmp_path_factory.mktemp("corpus")
    asv = root / "TidyVoiceX_ASV"
    for folder, speakers, prefix in (
        (asv / "TidyVoiceX_Dev", 3, "id01"),
        (asv / "TidyVoiceX_Train", 2, "id02"),
        (root / "voxceleb2" / "dev" / "aac", 2, "id03"),
    ):
        write_corpus(folder, speakers, 4, seconds=0.4)
        speakers_called(folder, prefix)
    dev = asv / "TidyVoiceX_Dev"
    ids = [str(path.relative_to(dev)) for path in sorted(dev.rglob("*.wav"))]
    lines = [
        f"{int(a.split('/')[0] == b.split('/')[0])} {a} {b}\n"
        for i, a in enumerate(ids)
        for b in ids[i + 1 :]
    ]
    (root / "TidyVocieX_Dev_trialPairs.txt").write_text("".join(lines))
    return root


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    for name in ("conf", "examples"):
        shutil.copytree(ROOT / name, folder / name)
    (folder / "local").symlink_to(ROOT / "local")
    released = folder / "conf/tidyvoice/released.yaml"
    text = released.read_text().replace("areffarhadi/Resnet34-tidyvoiceX-ASV", REPOSITORY)
    released.write_text(text)
    return folder


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    model = fill_weights(build_model("SimAM_ResNet34_ASP", in_planes=2, embed_dim=8), 1)
    folder = write_release(tmp_path_factory.mktemp("released"), model, in_planes=2, embed_dim=8)
    with fake_hub() as server:
        server.serve_folder(folder)
        yield server


def call(project, hub, command):
    return shell(command, project, hub.environment(project / "home"))


@pytest.fixture(scope="module")
def finished(project, hub, corpus):
    """The project after every command of the example's README, and what the last one printed."""
    text = (EXAMPLE / "README.md").read_text()
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines()]
    assert len(commands) == 4
    commands.append(re.search(r"`(tidyvoice fetch-model .*)`", text)[1])
    outputs = []
    for command in commands:
        result = call(project, hub, command.replace("DIR", str(corpus)))
        assert result.returncode == 0, result.stdout + result.stderr
        outputs.append(result.stdout)
    return project, outputs


def columns(table):
    """Cells of a table, by column and line."""
    rule = next(i for i, line in enumerate(table) if set(line) == {"-"})
    head, *lines = [re.split(r"\s{2,}", line) for line in (table[rule - 1], *table[rule + 1 :][:6])]
    return {
        name: {line[0]: line[place] for line in lines} for place, name in enumerate(head) if place
    }


def test_the_table_has_a_column_for_each_mean(finished):
    project, outputs = finished
    text = (project / "exp/reproduce-baseline/table.txt").read_text()
    assert outputs[3].endswith(text)
    table = columns(text.splitlines())
    assert list(table) == [
        "baseline, published",
        "none",
        "train's mean",
        "VoxCeleb2's mean",
        "dev's own mean (in-sample)",
    ]
    assert table["baseline, published"]["EER % different/same"] == "5.19"
    for name, column in (("none", "none"), ("train", "train's mean")):
        scores = read_scores(project / f"exp/reproduce-baseline/{name}.score")
        for row in evaluate(scores, languages_of(scores.trials)):
            cell = table[column][f"EER % {row.category}"]
            assert cell.startswith(f"{100 * row.eer:.2f} (")
    assert "IN-SAMPLE: dev's own mean: " in text
    assert "66 trials, but the published list has 12,000,000" in text
    # Without VoxCeleb2, as in the first command, its column is left out, and that is said.
    assert "no column for the mean of VoxCeleb2 dev" in outputs[0]
    assert "VoxCeleb2's mean=" not in outputs[0]


def test_each_column_is_the_cosine_after_its_mean(finished):
    folder = finished[0] / "exp/reproduce-baseline"
    dev = load_embeddings(folder / "dev.npz")
    assert set(dev.trained_on) == {"*", "id020000", "id020001"}
    means = {"none": 0.0, "own": dev.mean()}
    for name in ("train", "voxceleb2"):
        means[name] = load_embeddings(folder / f"{name}-20000.npz").mean()
    for name, mean in means.items():
        path = folder / f"{name}.score"
        table = read_scores(path)
        places = {utterance: place for place, utterance in enumerate(dev.ids)}
        centred = dev.vectors - mean
        centred /= np.linalg.norm(centred, axis=1, keepdims=True)
        rows = np.array([places[utterance] for utterance in table.trials.ids])
        expected = (centred[rows[table.trials.enroll]] * centred[rows[table.trials.test]]).sum(1)
        np.testing.assert_allclose(table.scores, expected, atol=1e-5)
        assert bool(read_lineage(path).in_sample) == (name == "own")


def test_what_is_there_is_not_extracted_again(finished):
    _, outputs = finished
    assert outputs[0].count("+ tidyvoice extract") == 2
    assert outputs[3].count("+ tidyvoice extract") == 1
    assert "local.tidyvoice" not in outputs[3]


def test_the_version_can_be_pinned(finished, hub):
    pinned = yaml.safe_load((finished[0] / "conf/tidyvoice/released.yaml").read_text())
    assert pinned["revision"] == hub.commit


def test_without_arguments_it_says_how_and_starts_nothing(project, hub):
    result = call(project, hub, SCRIPT)
    assert result.returncode == 0
    assert result.stdout.startswith(f"usage: {SCRIPT} --corpus DIR")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--limit 3", "--corpus: give the folder that holds TidyVoiceX"),
        ("--corpus /nowhere", "missing: /nowhere/TidyVoiceX_ASV/TidyVoiceX_Dev"),
        ("--corpus", "--corpus needs a value"),
        ("--corpora x", "unknown option --corpora"),
    ],
)
def test_a_mistake_is_one_line(project, hub, arguments, message):
    result = call(project, hub, f"{SCRIPT} {arguments}")
    assert result.returncode == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert message in line
