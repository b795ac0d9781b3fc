"""The order of a training's utterances, one pass over the data after another."""

import numpy as np

from tidyvoice.errors import TidyVoiceError
from tidyvoice.losses.languages import UNKNOWN_LANGUAGE
from tidyvoice.samplers import Sampler, Utterances
from tidyvoice.samplers.pairs import occurrences


class PassOrder:
    """Rows of each pass, a function of (seed, pass).

    Args:
        sampler: makes the order of a pass.
        utterances: the languages that are unknown have the code ``UNKNOWN_LANGUAGE``.
        seed: the experiment's.

    Raises:
        TidyVoiceError: the sampler needs languages, and none is known.
    """

    def __init__(self, sampler: Sampler, utterances: Utterances, seed: int):
        self._sampler = sampler
        self._utterances = utterances
        self._seed = seed
        self._latest: tuple[int, np.ndarray, np.ndarray | None] = (-1, utterances.rows, None)
        languages = utterances.languages[utterances.rows]
        if sampler.by_language and (languages == UNKNOWN_LANGUAGE).all():
            raise TidyVoiceError(
                "data.train: no utterance has a language, which data.sampler needs: add utt2lang, "
                "or choose another sampler"
            )

    def of_pass(self, number: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the rows [N] of a pass, and how often each came before (None: none repeats)."""
        # Bound once: another reading thread may be at another pass already.
        latest = self._latest
        if latest[0] != number:
            random = np.random.default_rng([self._seed, number])
            order = self._sampler(self._utterances, random)
            repeats = occurrences(order) if np.bincount(order).max() > 1 else None
            self._latest = latest = (number, order, repeats)
        return latest[1:]
