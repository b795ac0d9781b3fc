"""The leak guard: keep the speakers of training and of evaluation apart.

A mean, back end, cohort, calibration or model that has seen the evaluated speakers makes results
better than they are for other speakers. Every command compares the speakers before it writes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tidyvoice.errors import TidyVoiceError
from tidyvoice.model_files import OTHERS
from tidyvoice.scoring.groups import speakers_of
from tidyvoice.scoring.provenance import Kind, Remark, Source, describe
from tidyvoice.scoring.trials import Trials, stem

SHOWN = 3
# Share of the targets or of the non-targets that may contradict the ids. Wrong labels are few; ids
# that begin with a folder, a language or a session contradict nearly all labels of one kind.
MISREAD = 0.1


@dataclass(frozen=True)
class People:
    """The speakers behind a file in its role.

    ``read`` are names from the ids, ``listing`` from a file or a model; None if they are not known.
    ``utterances`` are ids without ``.wav``; empty if only the speakers are known.
    """

    role: str
    path: str
    read: frozenset[str] | None = None
    listing: frozenset[str] | None = None
    utterances: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls, role: str, path: str | Path, trials: Trials, utt2spk: Mapping[str, str] | None = None
    ) -> "People":
        """Find the speakers of a list."""
        read = speakers_of(trials)
        if read is not None and trials.label is not None:
            wrong = (read.codes[trials.enroll] == read.codes[trials.test]) != trials.label
            kinds = (trials.label, ~trials.label)
            if max(wrong[kind].mean() for kind in kinds if kind.any()) > MISREAD:
                read = None
            elif utt2spk is None:
                fix = "correct it, or give --utt2spk"
                trials.refuse(wrong, f"has a label that contradicts the speakers of the ids: {fix}")
        names = read and frozenset(read.names)
        listing = None if utt2spk is None else frozenset(speakers_of(trials, utt2spk).names)
        return cls(role, str(path), names, listing, frozenset(map(stem, trials.ids)))

    @classmethod
    def named(cls, role: str, path: str | Path, speakers: Iterable[str] | None) -> "People":
        """Take speakers by their names; None if the names are not known."""
        return cls(role, str(path), listing=None if speakers is None else frozenset(speakers))

    @property
    def names(self) -> frozenset[str] | None:
        """The names that were given, else those from the ids."""
        return self.read if self.listing is None else self.listing

    @property
    def source(self) -> Source:
        """The record of the file, with the number of its speakers."""
        count = None if self.names is None else len(self.names)
        return Source(role=self.role, path=self.path, speakers=count)


class LeakGuard:
    """Comparison of speakers; its remarks hold counts, not names, because reports are published."""

    def __init__(self, allow_overlap: bool = False):
        self._allow = allow_overlap
        self.remarks: tuple[Remark, ...] = ()

    def add(self, *remarks: Remark) -> None:
        """Add remarks that are not recorded yet."""
        self.remarks = (*self.remarks, *(each for each in remarks if each not in self.remarks))

    def disjoint(self, one: People, other: People, kind: Kind = "in-sample") -> None:
        """Check that two sets share no utterance and no speaker, under any name.

        If they do, results are of the ``kind``. "in-sample" is an error unless overlaps are
        allowed.
        """
        first, second = ((each.read or set()) | (each.listing or set()) for each in (one, other))
        speakers = (first & second) - {OTHERS}
        # Common utterances show common speakers even if the two sets name them differently.
        shared = sorted(speakers or one.utterances & other.utterances)
        both = {"one": one.source, "other": other.source}
        if shared:
            details = {"count": len(shared), "unit": "speakers" if speakers else "utterances"}
            remark = Remark(kind=kind, reason="shared", details=details, **both)
            if kind == "in-sample" and not self._allow:
                shown = ", ".join(shared[:SHOWN]) + (", ..." if len(shared) > SHOWN else "")
                fix = "Use other speakers, or mark the results with --allow-overlap."
                raise TidyVoiceError(f"{describe(remark)} ({shown}): too optimistic. {fix}")
            self.add(remark)
        for side, people, against in (("one", one, other), ("other", other, one)):
            if people.names is None:
                reason = "unknown speakers"
            elif OTHERS in people.names:
                reason = "unknown others"
            elif people.read not in (None, people.names) and against.listing is None:
                reason = "renamed speakers"
            else:
                continue
            self.add(Remark(kind="unchecked", reason=reason, details={"side": side}, **both))
            return
