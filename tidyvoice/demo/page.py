"""The page with two recordings and the decision. Needs gradio, the extra ``demo``."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Lock

import gradio
import numpy as np
import torch

from tidyvoice.demo.figures import scores_picture, spectrogram
from tidyvoice.demo.markup import (
    figure,
    introduction,
    message,
    verdict,
    waiting,
    warning_list,
)
from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.errors import TidyVoiceError
from tidyvoice.headers import SAMPLE_RATE
from tidyvoice.recordings import Recording
from tidyvoice.verification.enrollment import Enrollment

STYLE = Path(__file__).with_name("style.css")
# Screen readers announce a new decision.
SPEAK_UP = "element.setAttribute('aria-live', 'polite');"
# One colour for the light and the dark scheme: CSS variables do not reach the canvas.
WAVE = gradio.WaveformOptions(waveform_color="#8b8a84", waveform_progress_color="#4c8a9e")
BUSY = Lock()
SHOWN = 20  # seconds of a spectrogram, which keeps its frames visible
PRIORS = {
    "1 in 1,000": 0.001,
    "1 in 100": 0.01,
    "1 in 10": 0.1,
    "even": 0.5,
    "9 in 10": 0.9,
    "99 in 100": 0.99,
    "999 in 1,000": 0.999,
}


def listen(encoder: SpeakerEncoder, number: int, path: str | None) -> tuple[Enrollment | None, str]:
    """Embed a file; return the voice, and its spectrogram or an error as HTML.

    The page keeps the voice, so that another prior needs no embedding.

    Args:
        number: number of the recording, which messages name instead of the temporary file.
    """
    if path is None:
        return None, ""
    name = f"recording {number}"
    try:
        recording = Recording.load(path)
        # The page shows the warnings; the terminal need not.
        voice = encoder.enroll(name, [replace(recording, warnings=())])
        features = features_of(encoder, recording.samples[: SHOWN * SAMPLE_RATE])
    except TidyVoiceError as error:
        return None, message(str(error).replace(path, name))
    warnings = [line.replace(path, name) for line in recording.warnings]
    part = f", the first {SHOWN} s" if recording.seconds > SHOWN else ""
    caption = f"{recording.seconds:.1f} s, {recording.sound_seconds:.1f} s of sound{part}"
    title = f"Spectrogram of {name}: {caption}"
    picture = spectrogram(f"spectrogram-{number}", title, features, encoder.frontend)
    return voice, figure(picture, caption) + warning_list(warnings)


@torch.inference_mode()
def features_of(encoder: SpeakerEncoder, samples: np.ndarray) -> np.ndarray:
    """Return the features float32 [T x F] of samples float32 [S]."""
    batch = torch.from_numpy(samples[None]).to(encoder.device)
    return encoder.frontend(batch)[0].cpu().numpy()


def decide(
    encoder: SpeakerEncoder, first: Enrollment | None, second: Enrollment | None, prior: float
) -> tuple[str, str]:
    """Return the decision and the figure of the scores as HTML, which is empty without verifier."""
    if first is None or second is None:
        return waiting([first, second].count(None)), ""
    result = encoder.verify(first, second, prior)
    if encoder.verifier is None:
        return verdict(result), ""
    fitted = encoder.verifier.scale().distribution
    caption = (
        f"Scores of {sum(fitted.target):,} trials of the same speaker and "
        f"{sum(fitted.nontarget):,} of different speakers, to which the calibration was fitted."
    )
    return verdict(result), figure(scores_picture(encoder.verifier, result), caption)


def build(encoder: SpeakerEncoder, prior: float = 0.5) -> gradio.Blocks:
    """Lay out the page, with ``prior`` selected at first."""
    priors = PRIORS if prior in PRIORS.values() else {**PRIORS, f"{prior:g}": prior}
    ordered = sorted(priors.items(), key=lambda item: item[1])
    with gradio.Blocks(title="TidyVoice: is it the same speaker?", analytics_enabled=False) as page:
        gradio.HTML(introduction(encoder.verifier), elem_id="introduction")
        sides = []
        with gradio.Row(equal_height=False):
            for number in (1, 2):
                with gradio.Column(min_width=340):
                    audio = gradio.Audio(
                        label=f"Recording {number}",
                        sources=["upload", "microphone"],
                        type="filepath",
                        editable=False,
                        buttons=[],
                        waveform_options=WAVE,
                        elem_id=f"recording-{number}",
                    )
                    below = gradio.HTML(elem_id=f"spectrogram-{number}")
                    sides.append((audio, below, gradio.State()))
        with gradio.Row(equal_height=False):
            with gradio.Column(min_width=340):
                answer = gradio.HTML(waiting(2), elem_id="verdict", js_on_load=SPEAK_UP)
                choice = gradio.Radio(
                    ordered,
                    value=prior,
                    label="How likely is one speaker, before listening?",
                    info="The prior. It moves the threshold, not the score.",
                    visible=encoder.verifier is not None,
                    elem_id="prior",
                )
            with gradio.Column(min_width=340):
                scores = gradio.HTML(elem_id="scores")
        states = [state for _, _, state in sides]
        settle = _event(partial(decide, encoder), [*states, choice], [answer, scores])
        for number, (audio, below, state) in enumerate(sides, 1):
            embedded = _event(partial(listen, encoder, number), [audio], [state, below])
            audio.change(**embedded).then(**settle)
        choice.change(**settle)
    return page


def _event(function: Callable, inputs: list, outputs: list) -> dict:
    """Return the arguments of a listener that only the page can call.

    It does without gradio's queue, which now and then loses a second event that follows at once
    (gradio 6.31); the page then waits forever. A lock replaces the queue, because matplotlib's
    settings are global.
    """

    def alone(*values: object) -> tuple[object, ...]:
        with BUSY:
            return function(*values)

    return {
        "fn": alone,
        "queue": False,
        "inputs": inputs,
        "outputs": outputs,
        "show_progress": "minimal",
        "api_visibility": "private",
    }


# Variables of ``report/colours.css``, and what each of them colours.
COLOURS = {
    "paper": """body_background_fill background_fill_primary block_background_fill
        block_label_background_fill checkbox_background_color checkbox_background_color_selected
        checkbox_label_background_fill""",
    "panel": """background_fill_secondary checkbox_label_background_fill_hover
        checkbox_label_background_fill_selected""",
    "ink": """body_text_color block_label_text_color block_title_text_color
        checkbox_label_text_color checkbox_label_text_color_selected""",
    "muted": "body_text_color_subdued block_info_text_color",
    "rule": """border_color_primary block_border_color checkbox_border_color
        checkbox_border_color_focus checkbox_label_border_color""",
    "series-1": "border_color_accent color_accent checkbox_border_color_selected",
}


def theme() -> gradio.themes.Base:
    """Return a theme with system fonts and the colours of the report."""
    base = gradio.themes.Base(
        font=["system-ui", "-apple-system", "Segoe UI", "Helvetica Neue", "Arial", "sans-serif"],
        font_mono=["ui-monospace", "Menlo", "Consolas", "monospace"],
        radius_size="sm",
    )
    values = {
        name: f"var(--{colour})" for colour, names in COLOURS.items() for name in names.split()
    }
    # The variables themselves differ between the light and the dark scheme.
    dark = {
        f"{name}_dark": value for name, value in values.items() if hasattr(base, f"{name}_dark")
    }
    return base.set(**values, **dark)
