"""The demo: its figures, its texts, and the page in a browser."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from matplotlib.figure import Figure
from typer.testing import CliRunner

from tests.conftest import require
from tidyvoice.cli import app
from tidyvoice.demo import figures, markup
from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.frontends import FrontendSettings
from tidyvoice.verification.verifier import Verification

ROOT = Path(__file__).parents[1]
PATIENCE = 15_000  # ms


@pytest.fixture(scope="module")
def encoder(voices):
    return SpeakerEncoder.from_pretrained(voices / "model", "cpu")


@pytest.fixture
def page():
    """The module of the page, which needs gradio."""
    require(_installed("gradio"), "gradio is not installed: it is in the extra demo")
    from tidyvoice.demo import page

    return page


@pytest.fixture
def axes_of(monkeypatch):
    """Return a function that draws a figure and returns its axes."""

    def axes_of(function, *arguments):
        made = []

        def drawn(name, title, height, below, draw):
            figure = Figure()
            made.append(figure.add_subplot())
            draw(figure, made[0])
            figure.canvas.draw()

        monkeypatch.setattr(figures, "drawn", drawn)
        function(*arguments)
        return made[0]

    return axes_of


def test_the_scores_are_densities_with_score_and_threshold_among_them(encoder, axes_of):
    result = encoder.verifier.decide(0.4, prior=0.5)
    axes = axes_of(figures.scores_picture, encoder.verifier, result)
    lines = {line.get_label().split(",")[0]: line.get_xdata()[0] for line in axes.lines}
    assert lines == {"these two": result.score, "threshold": result.threshold}
    distribution = encoder.verifier.scale().distribution
    counts = (distribution.target, distribution.nontarget)
    outlines = [patch.get_data() for patch in axes.patches if not patch.get_fill()]
    assert len(outlines) == 2
    for (density, edges, _), count in zip(outlines, counts, strict=True):
        assert (density * np.diff(edges)).sum() == pytest.approx(1)
        middle = (edges[1:] + edges[:-1]) / 2
        fine = distribution.edges
        mean = np.average((fine[1:] + fine[:-1]) / 2, weights=count)
        assert np.average(middle, weights=density) == pytest.approx(mean, abs=0.02)
    low, high = axes.get_xlim()
    assert low < min(lines.values()) < max(lines.values()) < high
    # A threshold beyond all scores leaves the axis as it is.
    scale = replace(encoder.verifier.scale(), slope=1.0)
    verifier = replace(encoder.verifier, scales=(scale,))
    result = verifier.decide(0.4, prior=0.001)
    assert result.threshold > 1
    assert axes_of(figures.scores_picture, verifier, result).get_xlim()[1] == 1


@pytest.mark.parametrize("hertz", [500, 1000, 4000])
def test_a_tone_lies_at_its_frequency_and_time_in_the_spectrogram(axes_of, hertz):
    frontend = FrontendSettings(args={"mean_norm": False}).build().eval()
    time = np.arange(32000) / 16000
    tone = np.where(time > 1.2, 0.3 * np.sin(2 * np.pi * hertz * time), 0).astype(np.float32)
    features = frontend(torch.from_numpy(tone[None]))[0].numpy()
    axes = axes_of(figures.spectrogram, "s", "title", features, frontend)
    image = axes.images[0]
    left, right, bottom, top = image.get_extent()
    shown = image.get_array()
    row = bottom + (shown[:, 180].argmax() + 0.5) * (top - bottom) / len(shown)
    ticks = zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)
    place = {label.get_text(): tick for tick, label in ticks}[f"{hertz:,}"]
    assert row == pytest.approx(place, abs=0.5)
    loud = shown.max(axis=0) > 0
    begins = left + loud.argmax() * (right - left) / len(loud)
    assert begins == pytest.approx(1.2, abs=0.03)
    assert right == pytest.approx(2, abs=0.02)


def test_a_verdict_shows_its_numbers_and_is_never_certain():
    found = Verification(-0.25, -9.3, 1e-5, False, 0.41, 0.5)
    shown = markup.verdict(found)
    for text in ("Different speakers", "less than 0.1 %", "−0.250", "0.410", "−9.30"):
        assert text in shown
    sure = markup.verdict(replace(found, llr=20.0, probability=1.0, same_speaker=True))
    assert "more than 99.9 %" in sure
    assert "The same speaker" in sure


def test_an_in_sample_calibration_is_reported(encoder):
    assert "In-sample calibration, too optimistic: the trials of" in markup.introduction(
        encoder.verifier
    )
    for notes in ({}, {**encoder.verifier.notes, "in_sample": []}):
        fair = replace(encoder.verifier, notes=notes)
        assert "sample" not in markup.introduction(fair) + markup.introduction(None)


def test_names_of_files_are_no_markup():
    assert "<b>" not in markup.message("<b>.wav is silent") + markup.warning_list(["<b> clipped"])


def test_another_prior_needs_no_embedding(page, encoder, voices, monkeypatch):
    one, other = (
        page.listen(encoder, 1, str(voices / name))[0] for name in ("ann-1.wav", "bob-1.wav")
    )
    monkeypatch.setattr(encoder, "inference", None)
    expected = encoder.verifier.decide(encoder.verify(one, other).score, 0.999)
    shown, scores = page.decide(encoder, one, other, 0.999)
    assert f"{expected.threshold:.3f}".lstrip("-") in shown
    assert "Scores of 200 trials of the same speaker and 1,500 of different speakers" in scores


def test_without_a_verifier_there_is_a_score_and_no_verdict(page, encoder, voices, monkeypatch):
    monkeypatch.setattr(encoder, "verifier", None)
    voiced = [page.listen(encoder, n, str(voices / f"ann-{n}.wav"))[0] for n in (1, 2)]
    verdict, scores = page.decide(encoder, *voiced, 0.5)
    assert f"Score {encoder.verify(*voiced).score:.3f}" in verdict
    assert "tidyvoice fit-verifier" in verdict
    assert "speaker</p>" not in verdict
    assert scores == ""
    shown = page.build(encoder).config["components"]
    assert [c["props"]["visible"] for c in shown if c["props"].get("elem_id") == "prior"] == [False]


def test_a_warning_names_the_recording_of_the_page(page, encoder, voices, tmp_path):
    samples, rate = soundfile.read(voices / "ann-1.wav")
    soundfile.write(tmp_path / "loud.wav", (60 * samples).clip(-1, 1), rate)
    voice, shown = page.listen(encoder, 2, str(tmp_path / "loud.wav"))
    assert "Recording 2 is clipped" in shown
    assert str(tmp_path) not in shown
    assert voice is not None


def test_a_missing_extra_and_a_taken_port_are_one_line(voices, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = _fail("--model", str(voices / "model"), "--port", port)
    assert f"port {port} cannot be used" in said
    monkeypatch.setitem(sys.modules, "gradio", None)
    said = _fail("--model", str(voices / "model"), "--port", "0")
    assert "the demo needs gradio. In the repository, run: pip install -e '.[demo]' -c" in said
    assert "prior 2" in _fail("--model", str(voices / "model"), "--prior", "2")


def _fail(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["demo", "--no-open", *arguments])
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    return line


def _installed(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None


@contextmanager
def serving(model: Path, temporary: Path):
    """The address of a demo, which Ctrl-C ends without complaint or remains."""
    temporary.mkdir()
    command = [sys.executable, "-m", "tidyvoice", "demo", "--model", str(model), "--port", "0"]
    process = subprocess.Popen(
        [*command, "--no-open", "--device", "cpu"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        line = process.stdout.readline()
        assert re.fullmatch(r"the demo is at http://127\.0\.0\.1:\d+, Ctrl-C ends it\n", line)
        yield line.split()[4].rstrip(",")
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=20)
        assert (process.returncode, rest) == (0, "")
        assert list(temporary.glob("tidyvoice-demo-*")) == []
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def browser(voices):
    """Chromium, whose microphone hears ann."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    require(chromium is not None, "no chromium: install it to have the demo tried in a browser")
    for needed in ("gradio", "playwright"):
        require(_installed(needed), f"{needed} is not installed: it is in the extra test")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        switches = ["--no-sandbox", "--use-fake-ui-for-media-stream"]
        switches += ["--use-fake-device-for-media-stream"]
        switches += [f"--use-file-for-fake-audio-capture={voices / 'ann-3.wav'}"]
        browser = playwright.chromium.launch(executable_path=chromium, args=switches)
        yield browser
        browser.close()


def test_two_clips_get_a_verdict_in_the_browser(voices, encoder, browser, tmp_path):
    from playwright.sync_api import expect

    expect.set_options(timeout=PATIENCE)
    silence = tmp_path / "silence.wav"
    soundfile.write(silence, np.zeros(32000), 16000)
    requests, complaints = [], []
    with serving(voices / "model", tmp_path / "temporary") as address:
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda said: said.type == "error" and complaints.append(said.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address)
        answer = page.locator("#verdict .answer")
        numbers = page.locator("#verdict dd")

        def give(number: int, path: Path) -> None:
            side = page.locator(f"#recording-{number}")
            if clear := side.get_by_label("Clear").all():
                clear[0].click()
            side.locator("input[type=file]").set_input_files(path)

        def shown(one: str, other: str, prior: float) -> list[str]:
            found = encoder.verify(voices / one, voices / other, prior)
            values = (f"{found.score:.3f}", f"{found.threshold:.3f}", f"{found.llr:+.2f}")
            return [value.replace("-", "−") for value in values]

        expect(page.locator("#verdict")).to_contain_text("Two clips give a verdict")
        give(1, voices / "ann-1.wav")
        expect(page.locator("#verdict")).to_contain_text("One more clip")
        give(2, voices / "ann-2.wav")
        expect(answer).to_have_text("The same speaker")
        expect(page.locator("#verdict [aria-live=polite] .answer")).to_have_count(1)
        expect(numbers).to_have_text(shown("ann-1.wav", "ann-2.wav", 0.5))
        for figure in ("#spectrogram-1", "#spectrogram-2", "#scores"):
            box = page.locator(f"{figure} svg[role=img]").bounding_box()
            assert box["width"] > 400
            assert box["height"] > 150
        # The keyboard alone moves the prior; the score stays.
        page.get_by_role("radio", name="even").focus()
        page.keyboard.press("Tab")
        page.keyboard.press("Space")
        expect(numbers).to_have_text(shown("ann-1.wav", "ann-2.wav", 0.9))
        page.get_by_role("radio", name="1 in 1,000", exact=True).check()
        expect(numbers).to_have_text(shown("ann-1.wav", "ann-2.wav", 0.001))
        page.get_by_role("radio", name="even").check()
        for scheme, colour in (("dark", "rgb(130, 180, 238)"), ("light", "rgb(31, 95, 168)")):
            page.emulate_media(color_scheme=scheme)
            expect(answer).to_have_css("color", colour)

        give(2, voices / "bob-1.wav")
        expect(answer).to_have_text("Different speakers")
        expect(numbers).to_have_text(shown("ann-1.wav", "bob-1.wav", 0.5))

        give(2, silence)
        expect(page.locator("#spectrogram-2 .problem")).to_contain_text("Recording 2 is silent")
        expect(page.locator("#verdict")).to_contain_text("One more clip")
        expect(page.locator("#scores svg")).to_have_count(0)
        assert "Traceback" not in page.content()

        side = page.locator("#recording-2")
        side.get_by_label("Clear").click()
        side.get_by_label("Record audio").click()
        side.get_by_role("button", name="Record", exact=True).click()
        page.wait_for_timeout(3000)
        side.get_by_role("button", name="Stop", exact=True).first.click()
        expect(page.locator("#spectrogram-2 figcaption")).to_contain_text("s of sound")
        expect(numbers).to_have_count(3)

        # One column on a telephone, and nothing beside it.
        page.set_viewport_size({"width": 390, "height": 800})
        boxes = [page.locator(f"#recording-{number}").bounding_box() for number in (1, 2)]
        assert boxes[1]["y"] > boxes[0]["y"] + boxes[0]["height"]
        root = "document.documentElement"
        assert page.evaluate(f"{root}.scrollWidth - {root}.clientWidth") == 0
        page.close()
    assert complaints == []
    elsewhere = [url for url in requests if not url.startswith((address, "data:", "blob:"))]
    assert len(requests) > 10
    assert elsewhere == []


def test_another_name_for_this_machine_is_refused(page, voices):
    from starlette.testclient import TestClient

    from tidyvoice.demo.server import application

    served = application(SpeakerEncoder.from_pretrained(voices / "model", "cpu"), 7860, 0.5)
    for host, status in (("127.0.0.1:7860", 200), ("elsewhere.example", 400)):
        assert TestClient(served).get("/", headers={"host": host}).status_code == status
