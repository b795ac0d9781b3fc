"""The speakers and the trials with the worst errors of a system, as tables."""

import numpy as np

from tidyvoice.evaluation.tables import Number, Table, count, percent
from tidyvoice.scoring.groups import Groups
from tidyvoice.scoring.trials import ScoreTable

SHOWN = 10
SOME_LANGUAGES = 6


def hardest_speakers(
    table: ScoreTable, speakers: Groups, languages: Groups | None, threshold: float
) -> Table:
    """Return the ``SHOWN`` speakers with the highest mean of miss and false-alarm rate.

    A non-target trial counts for both of its speakers, and a rate without trials counts as 0.
    Speakers without an error are left out.
    """
    trials, number = table.trials, len(speakers.names)
    codes = speakers.codes.astype(np.int32)
    accepted = table.scores >= threshold

    def trials_of(side: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        return np.bincount(codes[side[chosen]], minlength=number)

    label = trials.label
    targets, misses = trials_of(trials.enroll, label), trials_of(trials.enroll, label & ~accepted)
    nontargets = trials_of(trials.enroll, ~label) + trials_of(trials.test, ~label)
    wrong = ~label & accepted
    false_alarms = trials_of(trials.enroll, wrong) + trials_of(trials.test, wrong)

    rate = (misses / np.maximum(targets, 1) + false_alarms / np.maximum(nontargets, 1)) / 2
    # Ties are broken by the name: the names are sorted.
    order = np.lexsort((np.arange(number), -(misses + false_alarms), -rate))
    rows = [
        [
            speakers.names[code],
            count(int(targets[code])),
            percent(misses[code] / targets[code]) if targets[code] else None,
            count(int(nontargets[code])),
            percent(false_alarms[code] / nontargets[code]) if nontargets[code] else None,
            _languages_of(speakers, languages, code),
        ]
        for code in order[:SHOWN].tolist()
        if rate[code] > 0
    ]
    head = ["Speaker", "Targets", "Missed (%)", "Non-targets", "False alarms (%)", "Languages"]
    return Table(head, rows, left=(5,))


def hardest_trials(table: ScoreTable, languages: Groups | None) -> tuple[Table, Table]:
    """Return the ``SHOWN`` targets with the lowest scores and non-targets with the highest.

    Of equal scores the first in the list comes first.
    """
    label = table.trials.label
    head = ["Enrolment", "Test", "Score", "Languages"]
    targets, nontargets = (
        [_row(table, languages, place) for place in _lowest(sign * table.scores, chosen)]
        for sign, chosen in ((1, label), (-1, ~label))
    )
    return Table(head, targets, left=(1, 3)), Table(head, nontargets, left=(1, 3))


def _lowest(values: np.ndarray, chosen: np.ndarray) -> list[int]:
    """Return the places of the ``SHOWN`` lowest of the chosen values, in ascending order."""
    places = np.flatnonzero(chosen)
    among = values[places]
    if len(among) > SHOWN:
        # Keep all that tie with the last one: argpartition picks among them by chance.
        keep = among <= np.partition(among, SHOWN - 1)[SHOWN - 1]
        places, among = places[keep], among[keep]
    return places[np.lexsort((places, among))][:SHOWN].tolist()


def _row(table: ScoreTable, languages: Groups | None, place: int) -> list[str | Number | None]:
    sides = table.trials.enroll[place], table.trials.test[place]
    spoken = None
    if languages is not None:
        names = [languages.names[languages.codes[side]] for side in sides]
        spoken = " – ".join(dict.fromkeys(names))
    enroll, test = (table.trials.ids[side] for side in sides)
    return [enroll, test, Number(float(table.scores[place]), places=4), spoken]


def _languages_of(speakers: Groups, languages: Groups | None, code: int) -> str | None:
    if languages is None:
        return None
    codes = np.unique(languages.codes[speakers.codes == code])
    names = [languages.names[language] for language in codes[:SOME_LANGUAGES]]
    if len(codes) > len(names):
        names.append(f"{len(codes) - len(names)} more")
    return ", ".join(names)
