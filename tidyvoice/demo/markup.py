"""HTML of the page. Every text from outside is escaped."""

from collections.abc import Sequence
from html import escape

from tidyvoice.report.drawing import Picture
from tidyvoice.verification.verifier import Verification, Verifier

MINUS = "\N{MINUS SIGN}"


def introduction(verifier: Verifier | None) -> str:
    """Return the head of the page, with a warning if the calibration is in-sample."""
    markup = (
        "<h1>Is it the same speaker?</h1><p>Record or drop two clips of speech, of three seconds "
        "or more, in any language. They stay on this machine and are deleted when the demo "
        "ends.</p>"
    )
    overlaps = verifier.notes.get("in_sample", ()) if verifier else ()
    return markup + warning_list([f"In-sample calibration, too optimistic: {o}" for o in overlaps])


def waiting(missing: int) -> str:
    """Return the text shown while recordings are missing."""
    text = "Two clips give a verdict." if missing == 2 else "One more clip gives a verdict."
    return f'<p class="waiting">{text}</p>'


def message(text: str) -> str:
    """Return an error, shown instead of a spectrogram."""
    return f'<p class="problem">{escape(text[:1].upper() + text[1:])}</p>'


def warning_list(lines: Sequence[str]) -> str:
    """Return a list of warnings; empty without warnings."""
    items = "".join(f"<li>{escape(line[:1].upper() + line[1:])}</li>" for line in lines)
    return f'<ul class="warnings" aria-label="Warnings">{items}</ul>' if items else ""


def figure(picture: Picture, caption: str) -> str:
    """Return a figure that uses the colours of the page."""
    return f"<figure>{picture.inline}<figcaption>{escape(caption)}</figcaption></figure>"


def verdict(result: Verification) -> str:
    """Return the decision in large type, and its numbers."""
    if result.llr is None:
        return (
            '<div class="verdict open"><p class="answer">Score '
            f"{signed(result.score, 3, plus=False)}</p><p>The cosine of the two embeddings. This "
            "model has no verifier and makes no decision: <code>tidyvoice fit-verifier</code> "
            "writes one.</p></div>"
        )
    kind, answer = ("same", "The same speaker") if result.same_speaker else (
        "different", "Different speakers"
    )  # fmt: skip
    rows = (
        ("Score", signed(result.score, 3, plus=False)),
        ("Threshold", signed(result.threshold, 3, plus=False)),
        ("Log-likelihood ratio", signed(result.llr, 2)),
    )
    cells = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in rows)
    return (
        f'<div class="verdict {kind}"><p class="answer">{answer}</p>'
        f'<p class="probability">Probability of the same speaker: '
        f"<strong>{percent(result.probability)}</strong></p><dl>{cells}</dl></div>"
    )


def percent(probability: float) -> str:
    """Format a probability, never as 0 or 100 %."""
    if probability > 0.9995:
        return "more than 99.9 %"
    if probability < 0.0005:
        return "less than 0.1 %"
    return f"{100 * probability:.1f} %"


def signed(value: float, digits: int, plus: bool = True) -> str:
    """Format a number with a typographic minus sign."""
    return f"{value:{'+' if plus else ''}.{digits}f}".replace("-", MINUS)
