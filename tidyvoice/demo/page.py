"""The page: two recordings, a verdict, and what it rests on. Needs gradio, the extra ``demo``."""

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
from tidyvoice.enrolment import Enrolment
from tidyvoice.errors import TidyVoiceError
from tidyvoice.headers import SAMPLE_RATE
from tidyvoice.recordings import Recording

STYLE = Path(__file__).with_name("style.css")
# A screen reader says the verdict when it changes.
SPEAK_UP = "element.setAttribute('aria-live', 'polite');"
# Drawn by the browser on light paper and in the dark alike, where no variable reaches.
WAVE = gradio.WaveformOptions(waveform_color="#8b8a84", waveform_progress_color="#4c8a9e")
BUSY = Lock()
SHOWN = 20  # seconds of a spectrogram, so that its frames can be told apart
PRIORS = {
    "1 in 1,000": 0.001,
    "1 in 100": 0.01,
    "1 in 10": 0.1,
    "even": 0.5,
    "9 in 10": 0.9,
    "99 in 100": 0.99,
    "999 in 1,000": 0.999,
}


def listen(encoder: SpeakerEncoder, number: int, path: str | None) -> tuple[Enrolment | None, str]:
    """The voice in a file, and the markup below it: its spectrogram, or what is wrong with it.

    The page keeps the voice, so that the verdict at another prior needs no embedding.

    Args:
        number: of the recording on the page; messages call it so, not by its temporary file.
    """
    if path is None:
        return None, ""
    name = f"recording {number}"
    try:
        recording = Recording.load(path)
        # The page says the warnings, the terminal need not.
        voice = encoder.enrol(name, [replace(recording, warnings=())])
        features = features_of(encoder, recording.samples[: SHOWN * SAMPLE_RATE])
    except TidyVoiceError as error:
        return None, message(str(error).replace(path, name))
    said = tuple(line.replace(path, name) for line in recording.warnings)
    shown = f", the first {SHOWN} s" if recording.seconds > SHOWN else ""
    caption = f"{recording.seconds:.1f} s, of which {recording.sound_seconds:.1f} s sound{shown}"
    title = f"Spectrogram of {name}: {caption}"
    picture = spectrogram(f"spectrogram-{number}", title, features, encoder.frontend)
    return voice, figure(picture, caption) + warning_list(said)


@torch.inference_mode()
def features_of(encoder: SpeakerEncoder, samples: np.ndarray) -> np.ndarray:
    """Features float32 [T x F] of samples float32 [S], as the model takes them."""
    batch = torch.from_numpy(samples[None]).to(encoder.device)
    return encoder.frontend(batch)[0].cpu().numpy()


def decide(
    encoder: SpeakerEncoder, one: Enrolment | None, other: Enrolment | None, prior: float
) -> tuple[str, str]:
    """Markup of the verdict, and of the figure of the scores (empty without a verifier)."""
    if one is None or other is None:
        return waiting([one, other].count(None)), ""
    found = encoder.verify(one, other, prior)
    if encoder.verifier is None:
        return verdict(found), ""
    known = encoder.verifier.distribution
    caption = (
        f"Scores of {sum(known.target):,} trials of the same speaker and {sum(known.nontarget):,} "
        "of different speakers, to which this model's calibration was fitted."
    )
    return verdict(found), figure(scores_picture(encoder.verifier, found), caption)


def build(encoder: SpeakerEncoder, prior: float = 0.5) -> gradio.Blocks:
    """The page of an encoder.

    Args:
        prior: that is chosen at first.
    """
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
            heard = _event(partial(listen, encoder, number), [audio], [state, below])
            audio.change(**heard).then(**settle)
        choice.change(**settle)
    return page


def _event(function: Callable, inputs: list, outputs: list) -> dict:
    """Arguments of a listener that belongs to the page alone.

    Each call is one request, without gradio's queue: that loses, now and then, a
    second event that follows the first at once, and the page waits for ever (gradio 6.31). What
    the queue would do beside, one call at a time, a lock does: matplotlib's settings are global.
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


def theme() -> gradio.themes.Base:
    """Fonts of the system, colours of ``report/colours.css``."""
    colours = {
        "body_background_fill": "var(--paper)",
        "body_text_color": "var(--ink)",
        "body_text_color_subdued": "var(--muted)",
        "background_fill_primary": "var(--paper)",
        "background_fill_secondary": "var(--panel)",
        "block_background_fill": "var(--paper)",
        "block_label_background_fill": "var(--paper)",
        "block_label_text_color": "var(--ink)",
        "block_title_text_color": "var(--ink)",
        "block_info_text_color": "var(--muted)",
        "border_color_primary": "var(--rule)",
        "border_color_accent": "var(--series-1)",
        "block_border_color": "var(--rule)",
        "color_accent": "var(--series-1)",
        "checkbox_background_color": "var(--paper)",
        "checkbox_background_color_selected": "var(--series-1)",
        "checkbox_border_color": "var(--rule)",
        "checkbox_border_color_focus": "var(--series-1)",
        "checkbox_border_color_selected": "var(--series-1)",
        "checkbox_label_background_fill": "var(--paper)",
        "checkbox_label_background_fill_hover": "var(--panel)",
        "checkbox_label_background_fill_selected": "var(--panel)",
        "checkbox_label_border_color": "var(--rule)",
        "checkbox_label_text_color": "var(--ink)",
        "checkbox_label_text_color_selected": "var(--ink)",
    }
    fonts = ["system-ui", "-apple-system", "Segoe UI", "Helvetica Neue", "Arial", "sans-serif"]
    made = gradio.themes.Base(
        font=fonts,
        font_mono=["ui-monospace", "Menlo", "Consolas", "monospace"],
        radius_size="sm",
    )
    # Both schemes take the same variables, which differ by scheme themselves.
    known = [name for name in colours if hasattr(made, f"{name}_dark")]
    return made.set(**colours, **{f"{name}_dark": colours[name] for name in known})
