"""The page in a browser: no complaint, every figure has a size, nothing overflows a telephone."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import require

MEASURE = """<script>
const page = document.documentElement;
const sizes = Array.from(document.querySelectorAll("figure svg"), (figure) => {
  const box = figure.getBoundingClientRect();
  return [Math.round(box.width), Math.round(box.height)];
});
const cell = document.querySelector("#languages-matrix title + rect[fill^=var]");
parent.postMessage(JSON.stringify({
  sizes: sizes,
  width: window.innerWidth,
  overflow: page.scrollWidth - page.clientWidth,
  paper: getComputedStyle(document.body).backgroundColor,
  cell: getComputedStyle(cell).fill,
}), "*");
</script></body>"""
# A window is never narrower than 500 px, a frame is.
FRAME = """<!DOCTYPE html><title>nothing yet</title>
<script>onmessage = (event) => { document.title = event.data; };</script>
<iframe src="measured.html" width="%d" height="900" style="border: 0"></iframe>"""


def browse(page: Path, profile: Path, *options: str) -> tuple[str, list[str]]:
    """The page's elements after loading, and the complaints of the console."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    require(chromium is not None, "no chromium: install it to have the report shown in a browser")
    switches = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run"
    switches += " --disable-background-networking --disable-component-update --disable-sync"
    switches += " --enable-logging=stderr --dump-dom"
    command = [chromium, *switches.split(), f"--user-data-dir={profile}", *options, page.as_uri()]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return run.stdout, [line for line in run.stderr.splitlines() if "CONSOLE" in line]


def test_a_browser_shows_the_page_without_complaint(pages, tmp_path):
    for name in ("two", "bare"):
        _, complaints = browse(pages[name], tmp_path / "profile")
        assert complaints == []
    # Complaints are seen: a script is against the page's own policy.
    scripted = tmp_path / "scripted.html"
    scripted.write_text(pages["two"].read_text().replace("</body>", MEASURE))
    _, complaints = browse(scripted, tmp_path / "profile")
    assert any("Content Security Policy" in line for line in complaints)


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1200, "light")])
def test_figures_have_a_size_on_a_telephone_and_in_the_dark(pages, tmp_path, width, scheme):
    text = pages["two"].read_text().replace("</body>", MEASURE)
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    (tmp_path / "measured.html").write_text(text)
    (tmp_path / "frame.html").write_text(FRAME % width)
    options = ["--window-size=1300,1000", "--virtual-time-budget=3000"]
    options += ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    shown, _ = browse(tmp_path / "frame.html", tmp_path / "profile", *options)
    found = json.loads(re.search(r"<title>(\{.*?\})</title>", shown).group(1))
    assert found["width"] == width
    # Tables scroll within themselves, the page does not.
    assert found["overflow"] == 0
    assert len(found["sizes"]) == 12
    assert all(y > 100 and x > 150 for x, y in found["sizes"])
    assert found["sizes"][0][0] <= width
    # The colours of the page and of the drawings follow the scheme.
    assert found["paper"] == {"light": "rgb(253, 253, 251)", "dark": "rgb(22, 22, 21)"}[scheme]
    heats = re.findall(r"--heat-\d: #(\w{6});", text)
    heats = heats[10:] if scheme == "dark" else heats[:10]
    rgb = [", ".join(map(str, bytes.fromhex(heat))) for heat in heats]
    assert found["cell"] in [f"rgb({colour})" for colour in rgb]
