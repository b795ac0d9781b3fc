"""The page with two recordings and the decision. Needs gradio, the extra ``demo``.

Every text from outside is escaped.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from html import escape

import gradio
import soundfile
import torch

from tidyvoice.demo.figures import scores_picture, spectrogram
from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.errors import TidyVoiceError
from tidyvoice.headers import SAMPLE_RATE
from tidyvoice.recordings import Recording
from tidyvoice.report.drawing import Picture
from tidyvoice.verification.enrollment import Enrollment
from tidyvoice.verification.verifier import Verification

# Screen readers announce a new decision.
SPEAK_UP = "element.setAttribute('aria-live', 'polite');"
MOST_SAMPLES = 600 * 2 * 48000  # a small file may decode to many gigabytes
SHOWN = 20  # seconds of a spectrogram, which keeps its frames visible
INTRODUCTION = """<h1>Is it the same speaker?</h1>
<p>Record or drop two clips of speech, of three seconds or more, in any language. They stay on this
machine and are deleted when the demo ends.</p>"""
WITHOUT_VERIFIER = """<p>The cosine of the two embeddings. This model has no verifier and makes no
decision: <code>tidyvoice fit-verifier</code> writes one.</p>"""
PRIORS = {
    "1 in 1,000": 0.001,
    "1 in 100": 0.01,
    "1 in 10": 0.1,
    "even": 0.5,
    "9 in 10": 0.9,
    "99 in 100": 0.99,
    "999 in 1,000": 0.999,
}


class Comparison:
    """HTML of two recordings: what is below each of them, the decision, and the scores."""

    def __init__(self, encoder: SpeakerEncoder):
        self.encoder = encoder
        # Another prior, or another recording on one side, needs no new embedding.
        self.listen = lru_cache(8)(self._listen)

    def _listen(self, number: int, path: str | None) -> tuple[Enrollment | None, str]:
        """Embed a file; return the voice, and its spectrogram or an error as HTML."""
        if path is None:
            return None, ""
        # Messages name the recording of the page instead of the temporary file.
        name, encoder = f"recording {number}", self.encoder
        try:
            if sample_count(path) > MOST_SAMPLES:
                raise TidyVoiceError(f"{name} is too long: give ten minutes of speech or less")
            recording = Recording.load(path)
            # The page shows the warnings; the terminal need not.
            voice = encoder.enroll(name, [replace(recording, warnings=())])
        except TidyVoiceError as error:
            return None, messages("problem", [str(error).replace(path, name)])
        samples = torch.from_numpy(recording.samples[None, : SHOWN * SAMPLE_RATE])
        with torch.inference_mode():
            features = encoder.frontend(samples.to(encoder.device))[0].cpu().numpy()
        part = f", the first {SHOWN} s" if recording.seconds > SHOWN else ""
        caption = f"{recording.seconds:.1f} s, {recording.sound_seconds:.1f} s of sound{part}"
        title = f"Spectrogram of {name}: {caption}"
        picture = spectrogram(f"spectrogram-{number}", title, features, encoder.frontend)
        warnings = [line.replace(path, name) for line in recording.warnings]
        return voice, figure(picture, caption) + messages("warnings", warnings)

    def __call__(self, first: str | None, second: str | None, prior: float) -> tuple[str, ...]:
        (one, left), (other, right) = self.listen(1, first), self.listen(2, second)
        if one is None or other is None:
            clips = "Two clips give" if one is other else "One more clip gives"
            return left, right, f'<p class="waiting">{clips} a verdict.</p>', ""
        result, verifier = self.encoder.verify(one, other, prior), self.encoder.verifier
        if verifier is None:
            return left, right, verdict(result), ""
        fitted = verifier.scale().distribution
        counts = f"{sum(fitted.target):,} trials of the same speaker and {sum(fitted.nontarget):,}"
        caption = f"Scores of {counts} of different speakers, to which the calibration was fitted."
        return left, right, verdict(result), figure(scores_picture(verifier, result), caption)


def build(encoder: SpeakerEncoder) -> gradio.Blocks:
    """Lay out the page."""
    verifier = encoder.verifier
    overlaps = verifier.notes.get("in_sample", ()) if verifier else ()
    warnings = [f"In-sample calibration, too optimistic: {overlap}" for overlap in overlaps]
    inputs, outputs = [], []
    with gradio.Blocks(title="TidyVoice: is it the same speaker?", analytics_enabled=False) as page:
        gradio.HTML(INTRODUCTION + messages("warnings", warnings), elem_id="introduction")
        with gradio.Row():
            for number in (1, 2):
                with gradio.Column():
                    label, name = f"Recording {number}", f"recording-{number}"
                    audio = gradio.Audio(label=label, type="filepath", buttons=[], elem_id=name)
                    inputs.append(audio)
                    outputs.append(gradio.HTML(elem_id=f"spectrogram-{number}"))
        with gradio.Row():
            with gradio.Column():
                outputs.append(gradio.HTML(elem_id="verdict", js_on_load=SPEAK_UP))
                choice = gradio.Radio(
                    list(PRIORS.items()),
                    value=0.5,
                    label="How likely is one speaker, before listening?",
                    info="The prior. It moves the threshold, not the score.",
                    visible=verifier is not None,
                    elem_id="prior",
                )
                inputs.append(choice)
            with gradio.Column():
                outputs.append(gradio.HTML(elem_id="scores"))
        gradio.on(
            [page.load, *(part.change for part in inputs)],
            Comparison(encoder),
            inputs,
            outputs,
            trigger_mode="always_last",
            show_progress="minimal",
            api_visibility="private",
        )
    return page


def sample_count(path: str) -> int:
    """Return the samples of all channels; 0 for a file that ffmpeg decodes, within a limit."""
    try:
        info = soundfile.info(path)
    except soundfile.LibsndfileError:
        return 0
    return info.frames * info.channels


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
