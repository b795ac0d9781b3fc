"""HTML of the page. Every text from outside is escaped."""

from collections.abc import Sequence
from html import escape

from tidyvoice.report.drawing import Picture
from tidyvoice.verification.verifier import Verification

INTRODUCTION = """<h1>Is it the same speaker?</h1>
<p>Record or drop two clips of speech, of three seconds or more, in any language. They stay on this
machine and are deleted when the demo ends.</p>"""
WITHOUT_VERIFIER = """<p>The cosine of the two embeddings. This model has no verifier and makes no
decision: <code>tidyvoice fit-verifier</code> writes one.</p>"""


def messages(kind: str, lines: Sequence[str]) -> str:
    """Return a list of warnings or problems; empty without any."""
    items = "".join(f"<li>{escape(line[:1].upper() + line[1:])}</li>" for line in lines)
    return f'<ul class="{kind}" aria-label="{kind.title()}">{items}</ul>' if items else ""


def figure(picture: Picture, caption: str) -> str:
    """Return a figure that uses the colours of the page."""
    return f"<figure>{picture.inline}<figcaption>{escape(caption)}</figcaption></figure>"


def verdict(result: Verification) -> str:
    """Return the decision in large type, and its numbers."""
    if result.llr is None:
        answer = f'<p class="answer">Score {result.score:.3f}</p>'
        return f'<div class="verdict">{answer}{WITHOUT_VERIFIER}</div>'
    kind = "same" if result.same_speaker else "different"
    answer = "The same speaker" if result.same_speaker else "Different speakers"
    return f"""<div class="verdict {kind}"><p class="answer">{answer}</p>
<p>Probability of the same speaker: <strong>{percent(result.probability)}</strong></p>
<dl><div><dt>Score</dt><dd>{result.score:.3f}</dd></div>
<div><dt>Threshold</dt><dd>{result.threshold:.3f}</dd></div>
<div><dt>Log-likelihood ratio</dt><dd>{result.llr:+.2f}</dd></div></dl></div>"""


def percent(probability: float) -> str:
    """Format a probability, never as 0 or 100 %."""
    if not 0.0005 <= probability <= 0.9995:
        return "more than 99.9 %" if probability > 0.5 else "less than 0.1 %"
    return f"{100 * probability:.1f} %"
