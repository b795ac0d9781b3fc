"""The speakers and the trials that a system fails at."""

from dataclasses import dataclass

import numpy as np

from tidyvoice.scoring.groups import Groups
from tidyvoice.scoring.trials import ScoreTable

SHOWN = 10


@dataclass(frozen=True)
class HardSpeaker:
    """A speaker's errors at one threshold.

    Attributes:
        targets, misses: target trials, and how many of them were rejected.
        nontargets, false_alarms: non-target trials with this speaker on either side, and how many
            of them were accepted.
        languages: of the speaker's utterances; empty where they are not known.
    """

    name: str
    targets: int
    misses: int
    nontargets: int
    false_alarms: int
    languages: tuple[str, ...]


@dataclass(frozen=True)
class HardTrial:
    """A trial: both ids, its score, and both languages where they are known."""

    enroll: str
    test: str
    score: float
    languages: tuple[str, str] | None


def hardest_speakers(
    table: ScoreTable, speakers: Groups, languages: Groups | None, threshold: float
) -> list[HardSpeaker]:
    """The ``SHOWN`` speakers with the highest mean of miss and false-alarm rate, hardest first.

    A rate without trials counts as 0. Speakers without an error are left out.
    """
    trials, number = table.trials, len(speakers.names)
    codes = speakers.codes.astype(np.int32)
    accepted = table.scores >= threshold

    def count(side: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        return np.bincount(codes[side[chosen]], minlength=number)

    label = trials.label
    targets, misses = count(trials.enroll, label), count(trials.enroll, label & ~accepted)
    nontargets = count(trials.enroll, ~label) + count(trials.test, ~label)
    wrong = ~label & accepted
    false_alarms = count(trials.enroll, wrong) + count(trials.test, wrong)

    rate = (misses / np.maximum(targets, 1) + false_alarms / np.maximum(nontargets, 1)) / 2
    # Names are sorted, so that a tie falls to the first in the alphabet.
    order = np.lexsort((np.arange(number), -(misses + false_alarms), -rate))
    return [
        HardSpeaker(
            speakers.names[code],
            int(targets[code]),
            int(misses[code]),
            int(nontargets[code]),
            int(false_alarms[code]),
            _spoken(speakers, languages, code),
        )
        for code in order[:SHOWN].tolist()
        if rate[code] > 0
    ]


def hardest_trials(
    table: ScoreTable, languages: Groups | None
) -> tuple[list[HardTrial], list[HardTrial]]:
    """The targets of the lowest scores and the non-targets of the highest, ``SHOWN`` of each.

    Of equal scores the first in the list comes first.
    """
    return tuple(
        [_trial(table, languages, place) for place in _first(sign * table.scores, chosen)]
        for sign, chosen in ((1, table.trials.label), (-1, ~table.trials.label))
    )


def _first(values: np.ndarray, chosen: np.ndarray) -> list[int]:
    """Places of the ``SHOWN`` least of the chosen values, in ascending order."""
    places = np.flatnonzero(chosen)
    among = values[places]
    if len(among) > SHOWN:
        # All that tie with the last are kept, for what argpartition picks among them is chance.
        keep = among <= np.partition(among, SHOWN - 1)[SHOWN - 1]
        places, among = places[keep], among[keep]
    return places[np.lexsort((places, among))][:SHOWN].tolist()


def _trial(table: ScoreTable, languages: Groups | None, place: int) -> HardTrial:
    sides = table.trials.enroll[place], table.trials.test[place]
    spoken = languages and tuple(languages.names[languages.codes[side]] for side in sides)
    enroll, test = (table.trials.ids[side] for side in sides)
    return HardTrial(enroll, test, float(table.scores[place]), spoken)


def _spoken(speakers: Groups, languages: Groups | None, code: int) -> tuple[str, ...]:
    if languages is None:
        return ()
    own = np.unique(languages.codes[speakers.codes == code])
    return tuple(languages.names[language] for language in own)
