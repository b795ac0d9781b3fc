"""The report: whole without a network, says what is missing, the same bytes every time."""

import base64
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from tests.report.support import COSINE, LLR, Page, make_experiment
from tidyvoice.errors import TidyVoiceError
from tidyvoice.evaluation.categories import CATEGORIES, OPERATING_POINTS, POOLED
from tidyvoice.report import System, drawing, load_system, write_report
from tidyvoice.report.system import examine
from tidyvoice.scoring.trials import ScoreTable, Trials, checksum, write_scores


def test_the_page_is_whole_and_reaches_for_nothing(pages):
    for name in ("two", "bare"):
        text = pages[name].read_text()
        page = Page(text)
        assert len(page.ids) == len(set(page.ids))
        for address in re.finditer("://", text):
            before = text[: address.start()].rsplit(" ", 1)[1]
            assert before.startswith("xmlns"), before
        assert not re.search(r"<(script|link|img|iframe)\b|@import|url\((?!#)", text)
        used = set(re.findall(r"(?:url\(|href=\")#([\w-]+)", text))
        assert used
        assert used <= set(page.ids)


def test_each_figure_is_there_with_its_download(pages):
    page = Page(pages["two"].read_text())
    training = [f"training-fine---tuned-{key}" for key in ("loss", "accuracy", "lr", "margin")]
    errors = ["det", "scores", "det-systems", "scores-2"]
    calibration = ["reliability", "cost", "bayes-error"]
    names = [*errors, "languages-matrix", *calibration, *training]
    assert set(names) <= set(page.ids)
    assert list(page.links) == [f"{name}.svg" for name in names]
    for href in page.links.values():
        svg = base64.b64decode(href.partition(",")[2]).decode()
        assert ElementTree.fromstring(svg).tag.endswith("svg")
        assert "<path" in svg
        assert "var(" not in svg  # it stands alone, outside the page
    assert set(Page(pages["bare"].read_text()).links) == {
        "det.svg",
        "scores.svg",
        "cost.svg",
        "bayes-error.svg",
    }


def test_two_calibrated_systems_are_laid_over_each_other(tmp_path):
    one, two = (
        make_experiment(tmp_path / name, log=False, seed=seed, steps=(COSINE, LLR))
        for seed, name in enumerate("ab")
    )
    write_report(one, [load_system(one), load_system(two)], tmp_path / "r.html", resamples=0)
    text = (tmp_path / "r.html").read_text()
    assert "cost-systems" in Page(text).ids
    drawn = text[text.index('<figure id="reliability"') :]
    drawn = drawn[: drawn.index("</svg>")]
    assert ">a<" in drawn
    assert ">b<" in drawn
    assert "In sample" not in text
    assert "No confidence intervals: no resamples were asked for." in text


def test_colours_of_drawings_are_those_of_the_page(pages):
    style = pages["two"].read_text()
    light, dark = style.split("prefers-color-scheme: dark", 1)
    for colour, variable in drawing.VARIABLES.items():
        assert f"{variable}: {colour};" in light
        assert re.search(rf"{variable}: #\w{{6}};", dark.split("* {")[0])


def test_what_is_missing_is_said(pages):
    two, bare = pages["two"].read_text(), pages["bare"].read_text()
    assert two.count("No training log.") == 1
    assert "different trial lists" not in two
    assert "note: a &lt; b &amp; c" in two
    assert "No actDCF and no Cllr for scratch:" in two
    assert "No confidence intervals" not in two
    for said in (
        "No training log.",
        "No config.yaml.",
        "No languages: neither",
        "No confidence intervals for bare: the speakers are not known",
        "No actDCF and no Cllr for bare:",
        "No reliability for bare:",
        "No speakers: neither",
        '<span class="mark">origin unknown</span>',
        "<li>origin unknown: nothing beside",
    ):
        assert said in bare
    assert Page(bare).cells.count("n/a") == 4 + 4 * 6
    assert "[" not in "".join(Page(bare).cells)


def test_scores_learnt_from_the_evaluated_speakers_are_marked(pages):
    text = pages["two"].read_text()
    header = text[text.index("<header>") : text.index("</header>")]
    said = "the trials of list and the cohort exp/train.npz share 2 speakers"
    assert "In sample" in header
    assert f"fine &amp; tuned: {said}" in header
    rows = Page(text).tables["summary"]
    assert [row[0] for row in rows if "in sample" in row[0]] == ["fine & tunedin sample"]
    assert said in text[text.index('id="provenance"') :]
    assert '<aside class="flaw">' not in pages["bare"].read_text()


def test_the_steps_that_made_the_scores_are_told(pages):
    text = pages["two"].read_text()
    told = text[text.index("How the scores of fine &amp; tuned") :]
    told, other = told.split("How the scores of scratch")
    for said in (
        "cosine of the embeddings",
        "<code>exp/a &amp; b.npz (sha256 0011)</code>",
        "AS-norm, 40 speakers of exp/train.npz",
        "Not checked: the trials of list against the training of the model of e.npz",
        "calibration by exp/c.json",
        "sha256 4455",
    ):
        assert said in told
    assert "cosine of the embeddings" in other
    assert "logistic" not in other


def test_the_same_input_gives_the_same_bytes(pages, tmp_path):
    systems = [load_system(pages["main"]), load_system(pages["other"])]
    results = write_report(pages["main"], systems, tmp_path / "again.html", resamples=200)
    assert [result.name for result in results] == ["fine & tuned", "scratch"]
    assert (tmp_path / "again.html").read_bytes() == pages["two"].read_bytes()


def test_folders_of_one_name_and_other_lists_are_told_apart(tmp_path):
    one, two = (make_experiment(tmp_path / n / "exp", log=False) for n in "ab")
    short = Trials(["a", "b"], np.array([0, 0]), np.array([0, 1]), np.array([True, False]))
    write_scores(two / "scores" / "dev.score", ScoreTable(short, np.array([1.0, 0.5])))
    systems = [load_system(one), load_system(two)]
    write_report(one, systems, tmp_path / "r.html", resamples=20)
    text = (tmp_path / "r.html").read_text()
    cells = Page(text).cells
    assert f"{one / 'scores' / 'dev.score'}origin unknown" in cells
    assert checksum(short) in cells
    assert "different trial lists" in text
    assert "Difference to" not in text


def test_a_score_file_is_a_system(tmp_path):
    folder = make_experiment(tmp_path / "exp")
    make_experiment(folder, steps=(COSINE, LLR), name="dev.cal")
    named = load_system(folder / "scores" / "dev.cal.score")
    assert (named.name, named.experiment_path) == ("exp, dev.cal", folder)
    alone = tmp_path / "mine.score"
    alone.write_bytes((folder / "scores" / "dev.score").read_bytes())
    assert load_system(alone) == System("mine", alone)
    systems = [load_system(folder), named]
    results = write_report(folder, systems, tmp_path / "r.html", resamples=0)
    assert [result.calibrated for result in results] == [False, True]
    # One experiment, one training log.
    assert Page((tmp_path / "r.html").read_text()).ids.count("training") == 1


def test_names_are_shown_as_they_are(tmp_path):
    trials = Trials(
        ["<i>a</i>", "b", "c"], np.array([0, 0]), np.array([1, 2]), np.array([True, False])
    )
    names = ["_tmp", r"a $\foo{$ b"]
    systems = []
    for number, name in enumerate(names):
        path = tmp_path / f"{number}.score"
        write_scores(path, ScoreTable(trials, np.array([1.0, 0.5 + number])))
        systems.append(System(name, path))
    write_report(tmp_path, systems, tmp_path / "r.html", resamples=0)
    text = (tmp_path / "r.html").read_text()
    assert "<i>" not in text
    for name in names:
        assert f"{name}, " in text  # the legend of the DET curves


def test_systems_are_found_and_mistakes_are_named(tmp_path):
    folder = make_experiment(tmp_path / "exp", steps=(COSINE,))
    with pytest.raises(TidyVoiceError, match=r"no score file 'eval.score'; there are: dev.score$"):
        load_system(folder, scores="eval")
    with pytest.raises(TidyVoiceError, match="none: no such experiment folder or score file"):
        load_system(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(TidyVoiceError, match="run `tidyvoice score` first"):
        load_system(tmp_path / "empty")
    page = tmp_path / "r.html"
    with pytest.raises(TidyVoiceError, match="at least one system"):
        write_report(folder, [], page)
    with pytest.raises(TidyVoiceError, match="at least one operating point"):
        write_report(folder, [load_system(folder)], page, points=())
    with pytest.raises(TidyVoiceError, match="resamples is -1"):
        write_report(folder, [load_system(folder)], page, resamples=-1)
    for table in ("utt2lang", "utt2spk"):
        (folder / table).write_text("s0/en/0 en\n")
        system = load_system(folder, name="ours")
        assert system.name == "ours"
        assert getattr(system, f"{table}_paths") == (folder / table,)
        with pytest.raises(TidyVoiceError, match=r"no (language|speaker) for"):
            write_report(folder, [system], page)
        (folder / table).unlink()
    assert not page.exists()


def test_scores_alone_make_a_report(tmp_path):
    folder = make_experiment(tmp_path / "exp", log=False)
    result = examine(System("s", folder / "scores" / "dev.score"), OPERATING_POINTS)
    assert list(result.det) == [POOLED, *CATEGORIES]
    assert len(result.histograms) == 4
    widths = np.diff(result.edges)
    for density in result.histograms.values():
        assert density @ widths == pytest.approx(1)


def test_the_report_needs_no_torch():
    code = "import sys, tidyvoice.report; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
