"""The speakers and the trials with the worst errors of a system, as tables."""

import numpy as np

from tidyvoice.evaluation.tables import Cell, Number, Table, percent
from tidyvoice.scoring.groups import Groups
from tidyvoice.scoring.trials import ScoreTable

SHOWN = 10


def hardest_speakers(
    table: ScoreTable, speakers: Groups, languages: Groups | None, threshold: float
) -> Table:
    """Return the ``SHOWN`` speakers with the highest mean of miss and false-alarm rate.

    A non-target trial counts for both of its speakers, and a rate without trials counts as 0.
    Speakers without an error are left out.
    """
    trials, label, accepted = table.trials, table.trials.label, table.scores >= threshold
    codes, number = speakers.codes.astype(np.int32), len(speakers.names)

    def count(chosen: np.ndarray, *sides: np.ndarray) -> np.ndarray:
        return sum(np.bincount(codes[side[chosen]], minlength=number) for side in sides)

    targets, misses = (count(c, trials.enroll) for c in (label, label & ~accepted))
    nontargets, false_alarms = (
        count(c, trials.enroll, trials.test) for c in (~label, ~label & accepted)
    )
    rate = (misses / np.maximum(targets, 1) + false_alarms / np.maximum(nontargets, 1)) / 2
    # Ties are broken by the name: the names are sorted.
    order = np.lexsort((np.arange(number), -(misses + false_alarms), -rate))
    rows: list[list[Cell]] = []
    for code in order[:SHOWN].tolist():
        if rate[code] > 0:
            row: list[Cell] = [speakers.names[code]]
            for trial_count, errors in ((targets, misses), (nontargets, false_alarms)):
                all_trials = int(trial_count[code])
                row += [Number(all_trials)]
                row += [percent(errors[code] / all_trials) if all_trials else None]
            places = languages and np.unique(languages.codes[speakers.codes == code])
            row += [None if places is None else ", ".join(languages.names[at] for at in places)]
            rows.append(row)
    head = ["Speaker", "Targets", "Missed (%)", "Non-targets", "False alarms (%)", "Languages"]
    return Table(head, rows, left=(5,))


def hardest_trials(table: ScoreTable, languages: Groups | None) -> tuple[Table, Table]:
    """Return the ``SHOWN`` targets with the lowest scores and non-targets with the highest.

    Of equal scores the first in the list comes first.
    """
    trials, tables = table.trials, []
    for sign, chosen in ((1, trials.label), (-1, ~trials.label)):
        places = np.flatnonzero(chosen)
        order = np.argsort(sign * table.scores[places], kind="stable")[:SHOWN]
        rows: list[list[Cell]] = []
        for place in places[order]:
            sides = trials.enroll[place], trials.test[place]
            pair = None
            if languages is not None:
                names = [languages.names[languages.codes[side]] for side in sides]
                pair = " – ".join(dict.fromkeys(names))
            score = Number(float(table.scores[place]), places=4)
            rows.append([*(trials.ids[side] for side in sides), score, pair])
        tables.append(Table(["Enrolment", "Test", "Score", "Languages"], rows, left=(1, 3)))
    return tuple(tables)
