"""espeak-ng through ctypes: converts text to samples of one voice.

The library is not thread-safe and its state changes from call to call: the same samples need a
fresh process for each speaker (see ``corpus``).
"""

import ctypes
import math
import os
from pathlib import Path

import numpy as np
from scipy.signal import firwin, resample_poly

from tidyvoice.errors import TidyVoiceError
from tidyvoice.packages import install_command

SAMPLE_RATE = 16000

# From speak_lib.h of espeak-ng 1.52.
_SYNCHRONOUS, _DO_NOT_EXIT, _UTF8 = 2, 0x8000, 1
_RATE, _PITCH = 1, 3
_NATIVE_RATE = 22050
_UP, _DOWN = 320, 441  # from 22050 Hz to 16 kHz
_LOW_PASS = firwin(20 * _DOWN + 1, 1 / _DOWN, window=("kaiser", 5.0)).astype(np.float32)
_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


def _locate() -> tuple[str, Path]:
    try:
        import espeakng_loader
    except ImportError:
        raise TidyVoiceError(
            f"the built-in corpus needs espeak-ng. Run: {install_command('mini')}"
        ) from None
    return espeakng_loader.get_library_path(), Path(espeakng_loader.get_data_path())


def version() -> str:
    """Return the version of espeak-ng, such as ``1.52.0``.

    Raises:
        TidyVoiceError: espeakng-loader is not installed.
    """
    library = ctypes.CDLL(_locate()[0])
    library.espeak_Info.restype = ctypes.c_char_p
    return library.espeak_Info(None).decode()


def data_folder(folder: Path) -> Path:
    """Fill ``folder`` with links to the installed data of espeak-ng, without its voice variants.

    espeak-ng finds only the first 350 voices, and its own variants would fill that list. Processes
    may share the folder.
    """
    installed = _locate()[1]
    (folder / "voices" / "!v").mkdir(parents=True)
    for entry in installed.iterdir():
        if entry.name != "voices":
            (folder / entry.name).symlink_to(entry)
    return folder


class Engine:
    """Synthesiser. Create only one in a process.

    Args:
        data: a folder from ``data_folder``.
        seed: of the noise in breath and consonants.

    Raises:
        TidyVoiceError: espeakng-loader is not installed, or espeak-ng cannot start.
    """

    def __init__(self, data: Path, seed: int) -> None:
        self._library = ctypes.CDLL(_locate()[0])
        rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, str(data).encode(), _DO_NOT_EXIT)
        if rate != _NATIVE_RATE:
            raise TidyVoiceError(
                f"{data}: espeak-ng could not start (it answered {rate}); its paths are limited to "
                "about 150 characters: set TMPDIR to a shorter one"
            )
        self._chunks: list[np.ndarray] = []
        self._missing = math.inf  # samples, before the synthesis is stopped
        self._callback = _Callback(self._receive)  # the library keeps only a pointer to it
        self._library.espeak_SetSynthCallback(self._callback)
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(seed))
        # A name that is unique to this process and not a language: `de+de` would not work.
        self._variant = data / "voices" / "!v" / f"v{os.getpid()}"
        self._voice = ""

    def _receive(self, samples: "ctypes._Pointer[ctypes.c_short]", count: int, _: object) -> int:
        """Keep samples; return 1, which ends the synthesis, once there are enough."""
        if count > 0:
            self._chunks.append(np.frombuffer(ctypes.string_at(samples, 2 * count), np.int16))
            self._missing -= count
        return int(self._missing <= 0)

    def set_voice(self, language: str, variant: str) -> None:
        """Choose a language and a voice.

        Args:
            language: a code of espeak-ng such as ``en`` or ``cmn``.
            variant: the text of a variant file.

        Raises:
            TidyVoiceError: espeak-ng does not know the language.
        """
        self._voice = language
        self._variant.write_text(variant, encoding="utf-8")
        try:
            # After a status other than 0, the previous voice stays.
            status = self._library.espeak_SetVoiceByName(
                f"{language}+{self._variant.name}".encode()
            )
        finally:
            self._variant.unlink()
        if status:
            raise TidyVoiceError(
                f"languages: espeak-ng has no voice {language!r} (it answered {status}); "
                "use codes such as en, fr, cmn"
            )

    def say(
        self, text: str, pitch: int = 50, words_per_minute: int = 175, seconds: float = math.inf
    ) -> np.ndarray:
        """Speak ``text``; return float32 samples at 16 kHz in -1..1.

        Args:
            text: in the language of the voice; numbers are read out.
            pitch: 0 to 100, relative to the voice; 50 does not change it.
            words_per_minute: 80 to 450.
            seconds: stop soon after this much audio.

        Raises:
            TidyVoiceError: espeak-ng returned no audio.
        """
        self._chunks.clear()
        self._missing = seconds * _NATIVE_RATE
        self._library.espeak_SetParameter(_RATE, words_per_minute, 0)
        self._library.espeak_SetParameter(_PITCH, pitch, 0)
        encoded = text.encode()
        self._library.espeak_Synth(
            encoded, ctypes.c_size_t(len(encoded) + 1), 0, 1, 0, _UTF8, None, None
        )
        self._library.espeak_Synchronize()
        native = np.concatenate([np.zeros(0, np.int16), *self._chunks])
        if not native.any():
            raise TidyVoiceError(
                f"espeak-ng voice {self._voice!r} gave no audio for {text!r}; take its language "
                "out of `languages`"
            )
        return resample_poly(native.astype(np.float32) / 32768, _UP, _DOWN, window=_LOW_PASS)
