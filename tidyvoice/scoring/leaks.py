"""The leak guard: speakers that are evaluated must not have been learnt from.

A mean, a cohort, a calibration or a model that knows the evaluated speakers makes their scores
better than those of anybody else would be. Sets of speakers that must be disjoint are compared
before anything is written.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from tidyvoice.archives import OTHERS
from tidyvoice.errors import TidyVoiceError
from tidyvoice.scoring.groups import speakers_of
from tidyvoice.scoring.trials import LABELS, Trials, stem

NAMED = 3
# Share of the labels of a kind. Ids that begin with something else than a speaker (one folder for
# all, a language, a session) contradict about all non-targets or all targets, wrong labels few.
MISREAD = 0.1


@dataclass(frozen=True)
class People:
    """The speakers of a set of utterances, by whatever tells them.

    Attributes:
        what: the set in words, such as "the trials of dev".
        utterances: ids without ``.wav``; empty where only the speakers are known.
        read: names read off the ids; None where they tell none.
        given: names that a file or a model gives; None without one.
    """

    what: str
    utterances: frozenset[str] = frozenset()
    read: frozenset[str] | None = None
    given: frozenset[str] | None = None

    @classmethod
    def of(cls, what: str, trials: Trials, utt2spk: Mapping[str, str] | None = None) -> "People":
        """Those of a list.

        Raises:
            TidyVoiceError: ``utt2spk`` lacks an utterance; without it, a label that contradicts the
                ids, which else agree with the labels.
        """
        found = speakers_of(trials)
        # What its ids begin with are no speakers if many labels contradict them.
        if found is not None:
            share, first = _contradicted(trials, found.codes)
            if share > MISREAD:
                found = None
            elif first and utt2spk is None:
                raise TidyVoiceError(
                    f"{first}, which the speakers that its ids begin with contradict; correct the "
                    "label, or give --utt2spk if they are no speakers"
                )
        given = speakers_of(trials, utt2spk) if utt2spk is not None else None
        return cls(
            what,
            frozenset(map(stem, trials.ids)),
            found and frozenset(found.names),
            given and frozenset(given.names),
        )

    @classmethod
    def named(cls, what: str, speakers: Iterable[str] | None) -> "People":
        """Those of a list of names; None if it is not known."""
        return cls(what, given=None if speakers is None else frozenset(speakers))

    @property
    def names(self) -> frozenset[str] | None:
        """What they are called: as given, else as read."""
        return self.read if self.given is None else self.given

    @property
    def renamed(self) -> bool:
        """Whether the given names are others than those that the ids tell."""
        return None not in (self.read, self.given) and self.read != self.given


class LeakGuard:
    """Compares sets of speakers; keeps what was allowed, and what could not be compared.

    Attributes:
        in_sample: overlaps, in words; empty unless they are allowed.
        unchecked: comparisons with speakers that are not known, in words.
    """

    def __init__(self, allow: bool = False):
        self._allow = allow
        self.in_sample: list[str] = []
        self.unchecked: list[str] = []

    def disjoint(self, one: People, other: People) -> None:
        """Demand that two sets share no utterance and no speaker, by any name.

        Raises:
            TidyVoiceError: they do, and that was not allowed.
        """
        shared: set[str] = set()
        for ours in (one.read, one.given):
            for theirs in (other.read, other.given):
                shared |= (ours or frozenset()) & (theirs or frozenset()) - {OTHERS}
        # Utterances tell the same where the two sets call their speakers differently.
        same = one.utterances & other.utterances
        self._refuse(one, other, shared or same, "speakers" if shared else "utterances")
        for side, against in ((one, other), (other, one)):
            if side.names is None or OTHERS in side.names:
                which = "the" if side.names is None else "some"
                said = f"{which} speakers of {side.what} are not known"
            elif side.renamed and against.given is None:
                said = f"the speakers of {side.what} are called otherwise than its ids say"
            else:
                continue
            self.note(f"{one.what} against {other.what}: {said}")
            return

    def note(self, said: str) -> None:
        """Keep what could not be compared."""
        if said not in self.unchecked:
            self.unchecked.append(said)

    def _refuse(self, one: People, other: People, shared: Iterable[str], what: str) -> None:
        names = sorted(shared)
        if not names:
            return
        shown = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
        said = f"{one.what} and {other.what} share {len(names):,} {what} ({shown})"
        if not self._allow:
            raise TidyVoiceError(
                f"{said}: results would flatter; take other speakers, or say --in-sample to have "
                "the report marked so"
            )
        if said not in self.in_sample:
            self.in_sample.append(said)


def _contradicted(trials: Trials, speakers: np.ndarray) -> tuple[float, str]:
    """Compare the labels with the speakers, int [U].

    Returns:
        The share of the targets or of the non-targets that the speakers contradict, whichever is
        higher, and the first such trial in words; "" without any.
    """
    if trials.label is None:
        return 0.0, ""
    wrong = (speakers[trials.enroll] == speakers[trials.test]) != trials.label
    if not wrong.any():
        return 0.0, ""
    trial = int(np.argmax(wrong))
    kind = LABELS[0] if trials.label[trial] else LABELS[1]
    share = max(wrong[side].mean() for side in (trials.label, ~trials.label) if side.any())
    return share, f"{trials.source}:{trial + 1}: '{trials.pair(trial)}' is labelled {kind}"
