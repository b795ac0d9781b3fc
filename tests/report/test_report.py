"""The report: whole without a network, says what is missing, and a browser shows all of it."""

import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtri

from tidyvoice.errors import TidyVoiceError
from tidyvoice.report import System, load_system, write_report
from tidyvoice.report.system import DET_POINTS, det_curve, examine, read_log
from tidyvoice.scoring.categories import CATEGORIES, POOLED, Costs
from tidyvoice.scoring.metrics import eer, error_rates
from tidyvoice.scoring.trials import Trials, checksum, write_scores

VOID = {"meta", "br", "link", "img", "hr", "input"}


class Page(HTMLParser):
    """Checks that elements nest, and collects ids, attributes, download links and table cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.ids, self.links, self.cells = [], [], {}, []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if "id" in values:
            self.ids.append(values["id"])
        if "download" in values:
            self.links[values["download"]] = values["href"]
        if tag in ("td", "th"):
            self.cells.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if any(tag in self.open for tag in ("td", "th")):
            self.cells[-1] += data.strip()


def make_experiment(folder: Path, shift=0.5, log=True, flat=False, seed=0) -> Path:
    rng = np.random.Generator(np.random.PCG64([seed, 12]))
    ids = [f"s{s}/{k}/{n}.wav" for s in range(8) for k in ("en", "fr") for n in range(3)]
    speaker = np.array([i.split("/")[0] for i in ids])
    enroll, test = (side.astype(np.int32) for side in np.triu_indices(len(ids), 1))
    label = speaker[enroll] == speaker[test]
    names = [i.replace("/", "-") for i in ids] if flat else ids
    scores = rng.standard_normal(len(enroll)) * 0.2 + label * shift
    write_scores(folder / "scores" / "dev.score", Trials(names, enroll, test, label), scores)
    (folder / "config.yaml").write_text("model: SimAM_ResNet34_ASP\nnote: a < b & c\n")
    if log:
        (folder / "log").mkdir()
        with open(folder / "log" / "train.jsonl", "w") as file:
            for i in range(0, 3000, 2):
                step = {"iteration": i, "epoch": 0, "loss": 9 - i / 500, "accuracy": i / 30}
                step |= {"margin": 0.2, "lr": 0.1 * 0.997**i, "utt_per_s": 9.0, "data_wait": 0.1}
                file.write(json.dumps(step) + "\n")
    return folder


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("report")
    main = make_experiment(root / "fine & tuned")
    other = make_experiment(root / "scratch", shift=0.3, log=False, seed=1)
    bare = make_experiment(root / "bare", shift=9.0, log=False, flat=True)
    (bare / "config.yaml").unlink()
    write_report(main, [load_system(main), load_system(other)], root / "two.html")
    write_report(bare, [load_system(bare)], root / "bare.html")
    return {"two": root / "two.html", "bare": root / "bare.html", "main": main}


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
    names = ["det", "scores", "det-systems", "scores-2", *training]
    assert set(names) <= set(page.ids)
    assert list(page.links) == [f"{name}.svg" for name in names]
    for href in page.links.values():
        svg = subprocess.run(
            ["base64", "-d"],
            input=href.partition(",")[2],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert "<path" in svg
        assert "var(" not in svg  # it stands alone, outside the page


def test_the_summary_shows_the_metrics(pages):
    result = examine(load_system(pages["main"]), Costs())
    cells = Page(pages["two"].read_text()).cells
    start = cells.index("fine & tuned")
    pooled, *others = result.rows
    assert cells[start + 1 : start + 8] == [
        f"{100 * pooled.eer:.2f}",
        f"{pooled.min_dcf:.3f}",
        *(f"{100 * row.eer:.2f}" for row in others),
        "1,128",
    ]
    assert result.checksum in cells


def test_what_is_missing_is_said(pages):
    two, bare = pages["two"].read_text(), pages["bare"].read_text()
    assert two.count("No training log.") == 1
    assert "different trial lists" not in two
    assert "note: a &lt; b &amp; c" in two
    for said in ("No training log.", "No config.yaml.", "No languages: neither"):
        assert said in bare
    assert Page(bare).cells.count("n/a") == 4 + 16
    assert {"det", "scores"} <= set(Page(bare).ids)


def test_the_same_input_gives_the_same_bytes(pages, tmp_path):
    systems = [load_system(pages["main"]), load_system(pages["main"].parent / "scratch")]
    results = write_report(pages["main"], systems, tmp_path / "again.html")
    assert [result.name for result in results] == ["fine & tuned", "scratch"]
    assert (tmp_path / "again.html").read_bytes() == pages["two"].read_bytes()


def test_folders_of_one_name_and_other_lists_are_told_apart(tmp_path):
    one, two = (make_experiment(tmp_path / n / "exp", log=False) for n in "ab")
    short = Trials(["a", "b"], np.array([0, 0]), np.array([0, 1]), np.array([True, False]))
    write_scores(two / "scores" / "dev.score", short, np.array([1.0, 0.5]))
    write_report(one, [load_system(one), load_system(two)], tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    cells = Page(text).cells
    assert str(one / "scores" / "dev.score") in cells
    assert checksum(short) in cells
    assert "different trial lists" in text


def test_the_thinned_curve_is_the_curve():
    rng = np.random.Generator(np.random.PCG64(4))
    label = rng.random(40_000) < 0.3
    scores = rng.standard_normal(40_000) + 2 * label
    rates = error_rates(scores, label)
    curve = det_curve(rates, eer(scores, label))
    assert 0.6 * DET_POINTS < len(curve.fpr) <= DET_POINTS
    points = set(zip(rates.fpr, rates.fnr, strict=True))
    assert points.issuperset(zip(curve.fpr, curve.fnr, strict=True))
    along = ndtri(curve.fnr) - ndtri(curve.fpr)
    assert np.all(np.diff(along) > 0)
    assert np.diff(along).max() < 0.6  # no gap, other than between the outermost errors


def test_a_system_without_errors_has_an_empty_curve():
    scores, label = np.array([1.0, 2, 3, 4]), np.array([False, False, True, True])
    assert len(det_curve(error_rates(scores, label), 0.0).fpr) == 0


def test_the_last_line_of_an_iteration_counts(tmp_path):
    path = tmp_path / "train.jsonl"
    lines = ['{"iteration": 1, "loss": 5, "lr": 1}', '{"iteration": 2, "loss": 4, "lr": 1}']
    path.write_text("\n".join([*lines, '{"iteration": 3, "lo', '{"iteration": 2, "loss": 3}', "7"]))
    log = read_log(path)
    assert log.iteration.tolist() == [1, 2]
    assert log.values["loss"].tolist() == [5, 3]
    assert log.unreadable == 2
    assert read_log(tmp_path / "none") is None
    path.write_text("")
    assert read_log(path) is None


def test_systems_are_found_and_mistakes_are_named(tmp_path, pages):
    folder = make_experiment(tmp_path / "exp")
    with pytest.raises(TidyVoiceError, match=r"no score file 'eval.score'; there are: dev"):
        load_system(folder, scores="eval")
    with pytest.raises(TidyVoiceError, match="run `tidyvoice score` first"):
        load_system(tmp_path / "none")
    with pytest.raises(TidyVoiceError, match="at least one system"):
        write_report(folder, [], tmp_path / "r.html")
    (folder / "utt2lang").write_text("s0/en/0 en\n")
    system = load_system(folder, name="ours")
    assert (system.name, system.utt2lang_path) == ("ours", folder / "utt2lang")
    with pytest.raises(TidyVoiceError, match="no language for"):
        write_report(folder, [system], tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()


def test_scores_alone_make_a_report(tmp_path):
    folder = make_experiment(tmp_path / "exp", log=False)
    result = examine(System("s", folder / "scores" / "dev.score"), Costs())
    assert list(result.det) == [POOLED, *CATEGORIES]
    assert len(result.histograms) == 4
    widths = np.diff(result.edges)
    for density in result.histograms.values():
        assert density @ widths == pytest.approx(1)


def browse(page: Path, profile: Path, *options: str) -> tuple[str, list[str]]:
    """The page's elements after loading, and what the console complained about."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        if os.environ.get("CI") == "true":
            pytest.fail("chromium is missing, and in CI it must not be")
        pytest.skip("no chromium: install it to have the report looked at in a browser")
    switches = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run"
    switches += " --disable-background-networking --disable-component-update --disable-sync"
    run = subprocess.run(
        [
            chromium,
            *switches.split(),
            f"--user-data-dir={profile}",
            "--enable-logging=stderr",
            *options,
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return run.stdout, [line for line in run.stderr.splitlines() if "CONSOLE" in line]


def test_a_browser_shows_the_page_without_complaint(pages, tmp_path):
    text, complaints = browse(pages["two"], tmp_path / "profile")
    assert complaints == []
    assert Page(text).ids == Page(pages["two"].read_text()).ids

    # On a narrow screen tables scroll within themselves, the page does not; and this second
    # page shows that complaints would be seen: its own script is against the policy.
    script = """<script>
    const page = document.documentElement;
    document.title = "overflow " + (page.scrollWidth - page.clientWidth);
    console.error("seen");
    </script></body>"""
    narrow = pages["two"].read_text().replace("</body>", script)
    (tmp_path / "narrow.html").write_text(narrow)
    _, complaints = browse(tmp_path / "narrow.html", tmp_path / "profile")
    assert any("Content Security Policy" in line for line in complaints)
    narrow = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", narrow)
    (tmp_path / "narrow.html").write_text(narrow)
    size = "--window-size=500,900"
    text, complaints = browse(tmp_path / "narrow.html", tmp_path / "profile", size)
    assert "<title>overflow 0</title>" in text
    assert any("seen" in line for line in complaints)
