"""Licences and terms of the corpora, for their preparation, for help texts and model cards."""

TERMS = {
    "TidyVoiceX": "TidyVoiceX and TidyVoiceX2 are made from Common Voice, which is CC0. The terms "
    "of all three forbid determining who a speaker is.",
    "VoxCeleb": "VoxCeleb1 and VoxCeleb2: the metadata are CC BY 4.0, the videos belong to their "
    "owners.",
    "VoxBlink2": "VoxBlink2 is CC BY-NC-SA: it allows no commercial use, and you must share "
    "derived work under the same licence.",
    "musan": "MUSAN is CC BY and public domain.",
    "RIRS_NOISES": "RIRS_NOISES is Apache-2.0.",
}
IDENTIFICATION = (
    f"Identify only people who agreed to it. {TERMS['TidyVoiceX']} {TERMS['VoxBlink2']} Keep "
    "to these terms with models that were trained on the corpora, too."
)
