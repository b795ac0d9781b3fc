"""The demo: its figures, its texts, and the page in a browser."""

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest
import soundfile
import torch
from matplotlib.figure import Figure

from tests.conftest import refusal, require
from tidyvoice.demo import figures
from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.frontends import FrontendSettings
from tidyvoice.verification.verifier import Verification

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def encoder(voices):
    return SpeakerEncoder.from_pretrained(voices / "model", "cpu")


@pytest.fixture
def page():
    """The module of the page, which needs gradio."""
    require(bool(find_spec("gradio")), "gradio is not installed: it is in the extra demo")
    from tidyvoice.demo import page

    return page


@pytest.fixture
def axes(monkeypatch):
    """The axes that a figure is drawn on."""
    figure = Figure()
    axes = figure.add_subplot()
    monkeypatch.setattr(figures.drawing, "drawn", lambda *args: args[-1](figure, axes))
    return axes


def test_the_scores_are_densities_with_score_and_threshold_among_them(encoder, axes):
    result = encoder.verifier.decide(0.4, prior=0.5)
    figures.scores_picture(encoder.verifier, result)
    lines = {line.get_label().split(",")[0]: line.get_xdata()[0] for line in axes.lines}
    assert lines == {"these two": result.score, "threshold": result.threshold}
    known = encoder.verifier.scale().distribution
    outlines = [patch.get_data() for patch in axes.patches if not patch.get_fill()]
    for (density, edges, _), count in zip(outlines, (known.target, known.nontarget), strict=True):
        assert (density * np.diff(edges)).sum() == pytest.approx(1)
        mean = np.average(known.edges[1:], weights=count)
        assert np.average(edges[1:], weights=density) == pytest.approx(mean, abs=0.04)


def test_a_tone_lies_at_its_frequency_in_the_spectrogram(axes):
    frontend = FrontendSettings(args={"mean_norm": False}).build().eval()
    tone = 0.3 * np.sin(2 * np.pi * 1000 * np.arange(32000, dtype=np.float32) / 16000)
    features = frontend(torch.from_numpy(tone[None]))[0].numpy()
    figures.spectrogram("s", "title", features, frontend)
    *_, right, bottom, top = axes.images[0].get_extent()
    shown = axes.images[0].get_array()
    row = bottom + (shown[:, 80].argmax() + 0.5) * (top - bottom) / len(shown)
    places = zip(axes.get_yticklabels(), axes.get_yticks(), strict=True)
    assert row == pytest.approx({str(t.get_text()): y for t, y in places}["1,000"], abs=0.5)
    assert right == pytest.approx(2, abs=0.02)


def test_a_verdict_shows_its_numbers_and_is_never_certain(page):
    found = Verification(-0.25, -9.3, 1e-5, False, 0.41, 0.5)
    shown = page.verdict(found)
    for text in ("Different speakers", "less than 0.1 %", "-0.250", "0.410", "-9.30"):
        assert text in shown
    sure = page.verdict(replace(found, llr=20.0, probability=1.0, same_speaker=True))
    assert "more than 99.9 %" in sure
    assert "The same speaker" in sure


@pytest.mark.parametrize("notes", [{"in_sample": ["both <b>"]}, {}])
def test_an_in_sample_calibration_is_reported(page, encoder, notes, monkeypatch):
    verifier = encoder.verifier.model_copy(update={"notes": notes})
    monkeypatch.setattr(encoder, "verifier", verifier)
    shown = str(page.build(encoder).config["components"])
    assert ("In-sample calibration" in shown) == bool(notes)
    assert "<b>" not in shown


def test_without_a_verifier_there_is_a_score_and_no_verdict(page, encoder, voices, monkeypatch):
    monkeypatch.setattr(encoder, "verifier", None)
    paths = [str(voices / f"ann-{number}.wav") for number in (1, 2)]
    *_, verdict, scores = page.Comparison(encoder)(*paths, 0.5)
    assert f"Score {encoder.verify(*paths).score:.3f}" in verdict
    assert "speaker</p>" not in verdict
    assert scores == ""


def test_a_warning_names_the_recording_of_the_page(page, encoder, voices, tmp_path):
    samples, rate = soundfile.read(voices / "ann-1.wav")
    soundfile.write(tmp_path / "loud.wav", (60 * samples).clip(-1, 1), rate)
    _, shown, answer, _ = page.Comparison(encoder)(None, str(tmp_path / "loud.wav"), 0.5)
    assert "Recording 2 is clipped" in shown
    assert str(tmp_path) not in shown
    assert "One more clip" in answer


def test_a_file_that_decodes_to_too_much_is_not_decoded(page, encoder, voices, monkeypatch):
    monkeypatch.setattr(page, "MOST_SAMPLES", 9999)
    _, shown, _, _ = page.Comparison(encoder)(None, str(voices / "ann-1.wav"), 0.5)
    assert "Recording 2 is too long" in shown


def test_a_missing_extra_and_a_taken_port_are_one_line(voices, monkeypatch):
    command = ("demo", "--no-open", "--model", voices / "model", "--port")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"error: port {port} cannot be used" in refusal(*command, port)
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "tidyvoice.demo.page", raising=False)
    message = refusal(*command, 0)
    assert message.startswith("error: the demo needs gradio. In the repository, run: pip install")


@contextmanager
def serving(voices: Path, temporary: Path):
    """The address of a demo, which Ctrl-C ends without complaint or remains."""
    temporary.mkdir()
    options = "--port 0 --no-open --device cpu --model"
    command = [sys.executable, "-m", "tidyvoice", "demo", *options.split(), voices / "model"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    environment = {**os.environ, "TMPDIR": str(temporary)}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, **pipes)
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


def test_two_clips_get_a_verdict_in_the_browser(page, browser, voices, encoder, tmp_path):
    from playwright.sync_api import expect

    expect.set_options(timeout=15_000)
    soundfile.write(tmp_path / "silence.wav", np.zeros(32000), 16000)
    requests, complaints = [], []
    with serving(voices, tmp_path / "temporary") as address:
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda said: said.type == "error" and complaints.append(said.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address)
        verdict, answer = page.locator("#verdict"), page.locator("#verdict .answer")
        numbers = page.locator("#verdict dd")

        def give(number: int, path: Path) -> None:
            side = page.locator(f"#recording-{number}")
            if clear := side.get_by_label("Clear").all():
                clear[0].click()
            side.locator("input[type=file]").set_input_files(path)

        def shown(one: str, other: str, prior: float) -> list[str]:
            found = encoder.verify(voices / one, voices / other, prior)
            return [f"{found.score:.3f}", f"{found.threshold:.3f}", f"{found.llr:+.2f}"]

        expect(verdict).to_contain_text("Two clips give a verdict")
        give(1, voices / "ann-1.wav")
        expect(verdict).to_contain_text("One more clip")
        give(2, voices / "ann-2.wav")
        expect(answer).to_have_text("The same speaker")
        expect(page.locator("#verdict [aria-live=polite] .answer")).to_have_count(1)
        expect(numbers).to_have_text(shown("ann-1.wav", "ann-2.wav", 0.5))
        expect(page.locator("#scores figcaption")).to_contain_text("200 trials of the same")
        for figure in ("#spectrogram-1", "#spectrogram-2", "#scores"):
            box = page.locator(f"{figure} svg[role=img]").bounding_box()
            assert box["width"] > 400
            assert box["height"] > 150
        for scheme, colour in (("dark", "rgb(130, 180, 238)"), ("light", "rgb(31, 95, 168)")):
            page.emulate_media(color_scheme=scheme)
            expect(answer).to_have_css("color", colour)
        # Several changes at once: the last ones count.
        page.get_by_role("radio", name="99 in 100", exact=True).check()
        give(2, voices / "bob-1.wav")
        page.get_by_role("radio", name="1 in 1,000", exact=True).check()
        expect(answer).to_have_text("Different speakers")
        expect(numbers).to_have_text(shown("ann-1.wav", "bob-1.wav", 0.001))
        give(2, tmp_path / "silence.wav")
        expect(page.locator("#spectrogram-2 .problem")).to_contain_text("Recording 2 is silent")
        expect(verdict).to_contain_text("One more clip")
        expect(page.locator("#scores svg")).to_have_count(0)
        page.close()
        # A name of another site that resolves to this address.
        with pytest.raises(HTTPError, match="400"):
            urlopen(Request(address, headers={"Host": "elsewhere.example"}))
        for path in (ROOT / "README.md", voices / "model/config.yaml"):
            with pytest.raises(HTTPError, match="403"):
                urlopen(f"{address}/gradio_api/file={path}")
    assert complaints == []
    assert len(requests) > 10
    assert all(url.startswith((address, "data:", "blob:")) for url in requests)
