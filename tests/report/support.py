"""Experiments and pages for the tests of the report."""

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np

from tidyvoice.scoring.lineage import write_with_lineage
from tidyvoice.scoring.provenance import Remark, Source, Step
from tidyvoice.scoring.trials import ScoreTable, Trials, write_scores

VOID = {"meta", "br", "link", "img", "hr", "input", "wbr"}
TRIALS = Source(role="trials", path="list")
MEMBERS = Source(role="cohort", path="exp/train.npz", sha256="2233", speakers=40)
MODEL = Source(role="training", path="e.npz")
TABLE = Source(role="embeddings", path="exp/a & b.npz", sha256="0011")
OVERLAP = "the trials of list and the cohort exp/train.npz share 2 speakers"
COSINE = Step(step="cosine", inputs=(TABLE,))
COHORT = Step(
    step="asnorm", inputs=(MEMBERS,),
    remarks=(
        Remark(kind="in-sample", reason="shared", one=TRIALS, other=MEMBERS,
               details={"count": 2, "unit": "speakers"}),
        Remark(kind="unchecked", reason="unknown speakers", one=TRIALS, other=MODEL,
               details={"side": "other"}),
    ),
)  # fmt: skip
LLR = Step(step="calibration", inputs=(Source(role="calibration", path="exp/c.json"),))


class Page(HTMLParser):
    """Checks that elements nest; collects ids, download links, SVG titles and tables by id."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.ids, self.links, self.titles = [], [], {}, []
        self.tables, self._rows = {}, []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if "id" in values:
            self.ids.append(values["id"])
        if "download" in values:
            self.links[values["download"]] = values["href"]
        if tag == "table":
            self._rows = self.tables[values["id"]] = []
        if tag == "tr":
            self._rows.append([])
        if tag in ("td", "th"):
            self._rows[-1].append("")
        if tag == "title" and "svg" in self.open:
            self.titles.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if any(tag in self.open for tag in ("td", "th")):
            self._rows[-1][-1] += data.strip()
        if self.open[-1:] == ["title"] and "svg" in self.open:
            self.titles[-1] += data


def make_trials(flat: bool = False) -> Trials:
    """All 1,128 pairs of the 48 files of 8 speakers; s7 speaks German, the others two languages."""
    files = [(s, k, n) for s in range(8) for k in ("en", "fr") for n in range(3)]
    ids = [f"s{s}/{'de' if s == 7 else k}/{k}{n}.wav" for s, k, n in files]
    enroll, test = (side.astype(np.int32) for side in np.triu_indices(len(ids), 1))
    names = [i.replace("/", "-") for i in ids] if flat else ids
    return Trials(names, enroll, test, enroll // 6 == test // 6)


def make_experiment(
    folder: Path, shift=0.5, log=True, flat=False, seed=0, steps=None, name="dev"
) -> Path:
    """An experiment folder with scores, and with ``steps`` log-likelihood-like ones."""
    rng = np.random.Generator(np.random.PCG64([seed, 12]))
    trials = make_trials(flat)
    scores = rng.standard_normal(len(trials)) * 0.2 + trials.label * shift
    path = folder / "scores" / f"{name}.score"
    if steps is None:
        write_scores(path, ScoreTable(trials, scores))
    else:
        write_with_lineage(path, ScoreTable(trials, 13 * scores - 3), steps)
    (folder / "config.yaml").write_text("model: SimAM_ResNet34_ASP\nnote: a < b & c\n")
    if log:
        rows = [
            {"iteration": i, "loss": 9 - i / 500, "accuracy": i / 30, "margin": 0.2,
             "lr": 0.1 * 0.997**i, "utt_per_s": 9.0}
            for i in range(0, 3000, 2)
        ]  # fmt: skip
        (folder / "log").mkdir(exist_ok=True)
        (folder / "log" / "train.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return folder


def plain_rates(scores, label, thresholds):
    """FNR and FPR the slow way: one comparison of all scores a threshold."""
    fnr = np.array([(scores[label] < t).mean() for t in thresholds])
    fpr = np.array([(scores[~label] >= t).mean() for t in thresholds])
    return fnr, fpr
