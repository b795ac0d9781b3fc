"""The order of a training's utterances, pass after pass over the data, as the settings say."""

import numpy as np

from tidyvoice.config import DataSettings
from tidyvoice.data.sampling import balanced, occurrences, paired, windowed
from tidyvoice.errors import TidyVoiceError
from tidyvoice.losses.languages import UNKNOWN_LANGUAGE


class PassOrder:
    """Rows of each pass, a function of (seed, pass).

    Args:
        settings: the ``data`` part of an experiment.
        rows: the utterances that are used, int64 [N].
        shards, speakers, languages: codes of every row of the data; of an unknown language
            ``UNKNOWN_LANGUAGE``.
        seed: the experiment's.

    Raises:
        TidyVoiceError: no language is known, and the settings go by it.
    """

    def __init__(
        self,
        settings: DataSettings,
        rows: np.ndarray,
        shards: np.ndarray,
        speakers: np.ndarray,
        languages: np.ndarray,
        seed: int,
    ):
        self._settings = settings
        self._rows = rows
        self._shards = shards
        self._speakers = speakers
        self._languages = languages
        self._seed = seed
        self._made: tuple[int, np.ndarray, np.ndarray | None] = (-1, rows, None)
        by_language = settings.pairs or settings.balance == "language"
        if by_language and (languages[rows] == UNKNOWN_LANGUAGE).all():
            raise TidyVoiceError(
                f"{', '.join(map(str, settings.train))}: no utterance has a language (utt2lang), "
                "which data.pairs and data.balance: language go by"
            )

    def of_pass(self, number: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Rows [N] of a pass, and how often each came before in it (None: none comes twice)."""
        # Bound once: another reading thread may be at another pass already.
        made = self._made
        if made[0] != number:
            self._made = made = (number, *self._make(number))
        return made[1:]

    def _make(self, number: int) -> tuple[np.ndarray, np.ndarray | None]:
        random = np.random.default_rng([self._seed, number])
        settings, rows = self._settings, self._rows
        if settings.order == "windowed":
            order = windowed(rows, self._shards[rows], settings.window_shards, random)
        elif settings.balance == "none":
            order = random.permutation(rows)
        else:
            groups = self._speakers if settings.balance == "speaker" else self._languages
            order = balanced(rows, groups[rows], settings.balance_power, random)
        if settings.pairs:
            order = paired(order, rows, self._speakers, self._languages, random)
        repeats = settings.pairs or settings.balance != "none"
        return order, occurrences(order) if repeats else None
