"""Pieces of the page's HTML. Every text that comes from outside is escaped."""

from collections.abc import Sequence
from html import escape

from tidyvoice.report.drawing import Picture
from tidyvoice.verifier import Verification, Verifier

MINUS = "\N{MINUS SIGN}"


def introduction(verifier: Verifier | None) -> str:
    """The head of the page; what is known against the calibration stands there."""
    markup = (
        "<h1>Is it the same speaker?</h1><p>Record or drop two clips of speech, of three seconds "
        "or more, in any language. They stay on this machine and are deleted when the demo "
        "ends.</p>"
    )
    said = verifier.notes.get("in_sample", ()) if verifier else ()
    return markup + warning_list([f"Calibrated in-sample, which flatters: {line}" for line in said])


def waiting(missing: int) -> str:
    """In place of a verdict, as long as recordings are missing."""
    text = "Two clips give a verdict." if missing == 2 else "One more clip gives a verdict."
    return f'<p class="waiting">{text}</p>'


def message(text: str) -> str:
    """What is wrong with a recording, in place of its spectrogram."""
    return f'<p class="problem">{escape(text[:1].upper() + text[1:])}</p>'


def warning_list(lines: Sequence[str]) -> str:
    """What is to be said against recordings; empty if nothing is."""
    items = "".join(f"<li>{escape(line[:1].upper() + line[1:])}</li>" for line in lines)
    return f'<ul class="warnings" aria-label="Warnings">{items}</ul>' if items else ""


def figure(picture: Picture, caption: str) -> str:
    """A drawing that takes its colours from the page."""
    return f"<figure>{picture.inline}<figcaption>{escape(caption)}</figcaption></figure>"


def verdict(found: Verification) -> str:
    """The decision in large type, and the numbers it rests on."""
    if found.llr is None:
        return (
            '<div class="verdict open"><p class="answer">Score '
            f"{signed(found.score, 3, plus=False)}</p><p>The cosine of the two embeddings. This "
            "model carries no calibration, so no decision follows: <code>tidyvoice fit-verifier"
            "</code> makes one.</p></div>"
        )
    kind, answer = ("same", "The same speaker") if found.same_speaker else (
        "different", "Different speakers"
    )  # fmt: skip
    rows = (
        ("Score", signed(found.score, 3, plus=False)),
        ("Threshold", signed(found.threshold, 3, plus=False)),
        ("Log-likelihood ratio", signed(found.llr, 2)),
    )
    cells = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in rows)
    return (
        f'<div class="verdict {kind}"><p class="answer">{answer}</p>'
        f'<p class="probability">Probability of the same speaker: '
        f"<strong>{percent(found.probability)}</strong></p><dl>{cells}</dl></div>"
    )


def percent(probability: float) -> str:
    """With one decimal, and never certain."""
    if probability > 0.9995:
        return "more than 99.9 %"
    if probability < 0.0005:
        return "less than 0.1 %"
    return f"{100 * probability:.1f} %"


def signed(value: float, digits: int, plus: bool = True) -> str:
    """A number with a true minus sign."""
    return f"{value:{'+' if plus else ''}.{digits}f}".replace("-", MINUS)
