"""The leak guard: keep the speakers of training and of evaluation apart.

A mean, a cohort, a calibration or a model that knows the evaluated speakers makes results better
than they are for other speakers. The guard compares the speakers before a command writes anything.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from tidyvoice.errors import TidyVoiceError
from tidyvoice.model_files import OTHERS
from tidyvoice.scoring.groups import speakers_of
from tidyvoice.scoring.trials import LABELS, Trials, stem

NAMED = 3
# Share of the targets or of the non-targets that may contradict the ids. Wrong labels are few; ids
# that begin with a folder, a language or a session contradict nearly all labels of one kind.
MISREAD = 0.1
# Names in an overlap, as earlier versions recorded it.
NAMES = re.compile(r"(share [\d,]+ (?:speakers|utterances)) \(.*\)$")


@dataclass(frozen=True)
class People:
    """The speakers of a set of utterances, from their ids, a file or a model.

    Attributes:
        what: the set in words, such as "the trials of dev".
        utterances: ids without ``.wav``; empty where only the speakers are known.
        read: names from the ids; None if the ids do not contain speakers.
        given: names from a file or a model; None without one.
    """

    what: str
    utterances: frozenset[str] = frozenset()
    read: frozenset[str] | None = None
    given: frozenset[str] | None = None

    @classmethod
    def of(cls, what: str, trials: Trials, utt2spk: Mapping[str, str] | None = None) -> "People":
        """Find the speakers of a list.

        Raises:
            TidyVoiceError: ``utt2spk`` lacks an utterance; or, without ``utt2spk``, a label
                contradicts the ids although nearly all labels agree with them.
        """
        found = speakers_of(trials)
        # If many labels contradict them, the ids do not begin with speakers.
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
        """Take speakers by their names; None if the names are not known."""
        return cls(what, given=None if speakers is None else frozenset(speakers))

    @property
    def names(self) -> frozenset[str] | None:
        """The names that were given, else those from the ids."""
        return self.read if self.given is None else self.given

    @property
    def renamed(self) -> bool:
        """True if the given names differ from those in the ids."""
        return None not in (self.read, self.given) and self.read != self.given


def without_names(overlap: str) -> str:
    """Return a recorded overlap without the speakers or utterances that it names."""
    return NAMES.sub(r"\1", overlap)


class LeakGuard:
    """Comparison of speakers; records allowed overlaps and comparisons that are impossible.

    Records hold counts, not names, because reports and model cards show them to others.

    Attributes:
        in_sample: overlaps, in words; empty unless they are allowed.
        unchecked: comparisons that are impossible, in words.
        confounded: quality measures that alone separate targets from non-targets, in words.
    """

    def __init__(self, allow: bool = False):
        self._allow = allow
        self.in_sample: list[str] = []
        self.unchecked: list[str] = []
        self.confounded: list[str] = []

    def disjoint(self, one: People, other: People) -> None:
        """Check that two sets share no utterance and no speaker, under any name.

        Raises:
            TidyVoiceError: they do, and overlaps are not allowed.
        """
        shared: set[str] = set()
        for ours in (one.read, one.given):
            for theirs in (other.read, other.given):
                shared |= (ours or frozenset()) & (theirs or frozenset()) - {OTHERS}
        # Common utterances show common speakers even if the two sets name them differently.
        same = one.utterances & other.utterances
        self._refuse(one, other, shared or same, "speakers" if shared else "utterances")
        for side, against in ((one, other), (other, one)):
            if side.names is None or OTHERS in side.names:
                which = "the" if side.names is None else "some"
                said = f"{which} speakers of {side.what} are not known"
            elif side.renamed and against.given is None:
                said = f"the given speakers of {side.what} differ from those in its ids"
            else:
                continue
            self.note(f"{one.what} against {other.what}: {said}")
            return

    def inherit(
        self, in_sample: Iterable[str], unchecked: Iterable[str], confounded: Iterable[str]
    ) -> None:
        """Add what earlier steps recorded."""
        self.in_sample = list(dict.fromkeys([*self.in_sample, *in_sample]))
        self.unchecked = list(dict.fromkeys([*self.unchecked, *unchecked]))
        self.confounded = list(dict.fromkeys([*self.confounded, *confounded]))

    def note(self, said: str) -> None:
        """Record a comparison that is impossible."""
        if said not in self.unchecked:
            self.unchecked.append(said)

    def _refuse(self, one: People, other: People, shared: Iterable[str], what: str) -> None:
        names = sorted(shared)
        if not names:
            return
        said = f"{one.what} and {other.what} share {len(names):,} {what}"
        if not self._allow:
            shown = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
            raise TidyVoiceError(
                f"{said} ({shown}): results would be too optimistic. Use other speakers, or allow "
                "the overlap with --allow-overlap; the report then marks it"
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
