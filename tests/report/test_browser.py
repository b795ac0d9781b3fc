"""The page in a browser: no complaint, every figure has a size, nothing overflows a telephone."""

import json
import re

import pytest

from tests.report.support import Page, browse

MEASURE = """<script>
const page = document.documentElement;
const sizes = {};
for (const figure of document.querySelectorAll("figure")) {
  const box = figure.querySelector("svg").getBoundingClientRect();
  sizes[figure.id] = [Math.round(box.width), Math.round(box.height)];
}
const colour = (element, what) => getComputedStyle(element)[what];
const found = JSON.stringify({
  sizes: sizes,
  width: window.innerWidth,
  overflow: page.scrollWidth - page.clientWidth,
  paper: colour(document.body, "backgroundColor"),
  cell: colour(document.querySelector("#languages-matrix title + rect[fill^=var]"), "fill"),
});
parent.postMessage(found, "*");
</script></body>"""
# A window is never narrower than 500 px, a frame is.
FRAME = """<!DOCTYPE html><title>nothing yet</title>
<script>onmessage = (event) => { document.title = event.data; };</script>
<iframe src="measured.html" width="%d" height="900" style="border: 0"></iframe>"""


def test_a_browser_shows_the_page_without_complaint(pages, tmp_path):
    for name in ("two", "bare"):
        text, complaints = browse(pages[name], tmp_path / "profile")
        assert complaints == []
        assert Page(text).ids == Page(pages[name].read_text()).ids
    # That complaints would be seen: a script is against the page's own policy.
    scripted = tmp_path / "scripted.html"
    scripted.write_text(pages["two"].read_text().replace("</body>", MEASURE))
    _, complaints = browse(scripted, tmp_path / "profile")
    assert any("Content Security Policy" in line for line in complaints)


def colour_of(variable: str, text: str, scheme: str) -> str:
    """A variable of the style sheet as the browser writes colours."""
    hexadecimal = re.findall(rf"{variable}: #(\w{{6}});", text)[scheme == "dark"]
    return f"rgb({', '.join(str(byte) for byte in bytes.fromhex(hexadecimal))})"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_figures_have_a_size_on_a_telephone_and_in_the_dark(pages, tmp_path, width, scheme):
    text = pages["two"].read_text().replace("</body>", MEASURE)
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    (tmp_path / "measured.html").write_text(text)
    (tmp_path / "frame.html").write_text(FRAME % width)
    options = ["--window-size=1300,1000", "--virtual-time-budget=3000"]
    if scheme == "dark":
        options.append("--blink-settings=preferredColorScheme=0")
    shown, complaints = browse(tmp_path / "frame.html", tmp_path / "profile", *options)
    assert complaints == []
    found = json.loads(re.search(r"<title>(\{.*?\})</title>", shown).group(1))
    assert found["width"] == width
    # Tables scroll within themselves, the page does not.
    assert found["overflow"] == 0
    assert len(found["sizes"]) == 12
    for size in found["sizes"].values():
        assert size[0] > 150
        assert size[1] > 100
    assert found["sizes"]["det"][0] <= width
    # The colours of the page and of the drawings follow the scheme.
    assert found["paper"] == {"light": "rgb(253, 253, 251)", "dark": "rgb(22, 22, 21)"}[scheme]
    assert found["cell"] in [colour_of(f"--heat-{n}", text, scheme) for n in range(10)]
