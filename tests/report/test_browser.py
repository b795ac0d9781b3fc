"""The page in a browser: no complaint, every figure has a size, nothing overflows a telephone."""

import re

import pytest

STYLE = "one => [getComputedStyle(one).backgroundColor, getComputedStyle(one).fill]"


def browse(browser, path, **options):
    """The page, and the complaints of its console."""
    page, complaints = browser.new_page(**options), []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(path.as_uri())
    return page, complaints


def test_a_browser_shows_the_page_without_complaint(pages, browser, tmp_path):
    for name in ("two", "bare"):
        assert browse(browser, pages[name])[1] == []
    # Complaints are seen: a script is against the page's own policy.
    scripted = tmp_path / "scripted.html"
    scripted.write_text(pages["two"].read_text().replace("</body>", "<script>1</script></body>"))
    assert "Content Security Policy" in str(browse(browser, scripted)[1])


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1200, "light")])
def test_figures_have_a_size_on_a_telephone_and_in_the_dark(pages, browser, width, scheme):
    options = {"viewport": {"width": width, "height": 900}, "color_scheme": scheme}
    page, _ = browse(browser, pages["two"], **options, bypass_csp=True)
    # Tables scroll within themselves, the page does not.
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    boxes = [figure.bounding_box() for figure in page.locator("figure svg").all()]
    assert len(boxes) == 12
    assert all(box["height"] > 100 and box["width"] > 150 for box in boxes)
    assert boxes[0]["width"] <= width
    # The colours of the page and of the drawings follow the scheme.
    paper, _ = page.locator("body").evaluate(STYLE)
    assert paper == {"light": "rgb(253, 253, 251)", "dark": "rgb(22, 22, 21)"}[scheme]
    heats = re.findall(r"--heat-\d: #(\w{6});", pages["two"].read_text())
    heats = heats[10:] if scheme == "dark" else heats[:10]
    _, cell = page.locator("#languages-matrix title + rect[fill^=var]").first.evaluate(STYLE)
    assert cell in [f"rgb({', '.join(map(str, bytes.fromhex(heat)))})" for heat in heats]
