"""`tidyvoice report`: a page that needs no network, names what is missing, and is reproducible."""

import base64
import json
import re
import shutil
import xml.etree.ElementTree as ElementTree

from conftest import refusal, succeed

from tests.report.support import COSINE, LLR, OVERLAP, Page, make_experiment


def report(*arguments):
    """Return the JSON output of the command, and the page."""
    found = json.loads(succeed("report", *arguments, "--json"))
    with open(found["report"]) as file:
        return found["systems"], file.read()


def test_the_page_is_whole_and_loads_nothing(pages):
    for name in ("two", "bare"):
        text = pages[name].read_text()
        page = Page(text)
        assert len(page.ids) == len(set(page.ids))
        for address in re.finditer("://", text):
            before = text[: address.start()].rsplit(" ", 1)[1]
            assert before.startswith("xmlns"), before
        assert not re.search(r"<(script|link|img|iframe)\b|@import|url\((?!#)", text)
        used = set(re.findall(r"(?:url\(|href=\")#([\w-]+)", text))
        assert set() < used <= set(page.ids)


def test_each_figure_is_there_with_its_download(pages):
    page = Page(pages["two"].read_text())
    training = [f"training-{key}" for key in ("loss", "accuracy", "lr", "margin")]
    errors = ["det", "scores", "det-systems", "scores-2"]
    names = [*errors, "languages-matrix", "reliability", "cost", "bayes-error", *training]
    assert list(page.links) == [f"{name}.svg" for name in names]
    for href in page.links.values():
        svg = base64.b64decode(href.partition(",")[2]).decode()
        assert ElementTree.fromstring(svg).tag.endswith("svg")
        assert "<path" in svg
        assert "var(" not in svg  # it stands alone, outside the page
    bare = Page(pages["bare"].read_text())
    assert list(bare.links) == ["det.svg", "scores.svg", "cost.svg", "bayes-error.svg"]


def test_the_page_names_what_is_missing(pages):
    two, bare = pages["two"].read_text(), pages["bare"].read_text()
    assert two.count("No training log.") == 1
    assert "note: a &lt; b &amp; c" in two
    assert "No actDCF and no Cllr for scratch:" in two
    assert "No confidence intervals" not in two
    for text in (
        "No config.yaml.",
        "No languages: ",
        "No confidence intervals for bare: the speakers are not known",
        "No reliability for bare:",
        "origin unknown: nothing beside",
    ):
        assert text in bare
    assert Page(bare).tables["summary"][1][0] == "bareorigin unknown"
    assert Page(bare).tables["categories"][2] == ["different/different", *["n/a"] * 6]


def test_flaws_and_the_steps_that_made_the_scores_are_listed(pages):
    text = pages["two"].read_text()
    header = text[text.index("<header>") : text.index("</header>")]
    assert f"fine &amp; tuned: {OVERLAP}" in header
    rows = Page(text).tables["summary"]
    assert [row[0] for row in rows if "in-sample" in row[0]] == ["fine & tunedin-sample"]
    assert '<aside class="flaw">' not in pages["bare"].read_text()
    main, other = text[text.index("How the scores of fine") :].split("How the scores of scratch")
    for step in (
        OVERLAP,
        "<code>exp/a &amp; b.npz (sha256 0011)</code>",
        "Not checked: whether the trials of list and the training of the model of e.npz share",
        "calibration by exp/c.json",
    ):
        assert step in main
    assert "cosine of the embeddings" in other
    assert "calibration" not in other


def test_the_same_input_gives_the_same_bytes(pages, tmp_path):
    options = ("--compare", pages["other"], "--bootstrap", 200, "--out", tmp_path / "again.html")
    systems, text = report(pages["main"], *options)
    assert list(systems) == ["fine & tuned", "scratch"]
    assert text == pages["two"].read_text()


def test_folders_of_one_name_and_other_lists_are_told_apart(tmp_path):
    one, two = (make_experiment(tmp_path / name / "exp", log=False) for name in "ab")
    scores = two / "scores" / "dev.score"
    scores.write_text("".join(scores.read_text().splitlines(keepends=True)[:500]))
    systems, text = report(one, "--compare", two, "--bootstrap", 0)
    assert list(systems) == [str(folder / "scores/dev.score") for folder in (one, two)]
    assert "different trial lists" in text
    assert "Difference to" not in text


def test_a_score_file_is_a_system(tmp_path):
    folder = make_experiment(tmp_path / "exp", steps=(COSINE, LLR))
    make_experiment(folder, steps=(COSINE, LLR), name="dev.cal")
    alone = tmp_path / r"_ $\foo{$ <i>.score"
    shutil.copy(folder / "scores" / "dev.score", alone)
    others = ("--compare", folder / "scores" / "dev.cal.score", "--compare", alone)
    systems, text = report(folder, *others, "--bootstrap", 0)
    calibrated = {name: one["calibrated"] for name, one in systems.items()}
    assert calibrated == {"exp": True, "exp, dev.cal": True, alone.stem: False}
    # Both score files of the experiment have one training log; the third has none.
    assert {"training", "training-2"} <= set(Page(text).ids)
    assert "training-3" not in Page(text).ids
    reliability = text[text.index('<figure id="reliability"') :].partition("</svg>")[0]
    assert ">exp, dev.cal<" in reliability
    assert "foo" not in reliability
    # Names are shown as they are, also in figures.
    assert "<i>" not in text
    assert r"> _ $\foo{$ &lt;i&gt;, minimum<" in text


def test_mistakes_are_one_line_and_no_page_is_written(tmp_path):
    folder = make_experiment(tmp_path / "exp", steps=(COSINE,))
    message = refusal("report", folder, "--scores", "eval")
    assert "no score file 'eval.score'; there are: dev" in message
    assert "none: no such experiment folder" in refusal("report", tmp_path / "none")
    for name in ("scores/dev.score", "config.yaml", "log/train.jsonl"):
        assert f"{folder / name} is an input" in refusal("report", folder, "--out", folder / name)
    assert "--trials x: write NAME=LIST" in refusal("report", folder, "--trials", "none=x")
    (folder / "utt2spk").write_text("s0/en/0 s0\n")
    assert "no speaker for" in refusal("report", folder)
    assert not (folder / "report.html").exists()
