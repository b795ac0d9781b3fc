"""The leak guard: speakers that are evaluated must not have been learnt from.

A mean, a cohort, a calibration or a model that knows the evaluated speakers makes their scores
better than those of anybody else would be. Sets of speakers that must be disjoint are compared
before anything is written.
"""

from collections.abc import Iterable

from tidyvoice.errors import TidyVoiceError

NAMED = 3


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

    def disjoint(
        self, one: str, ours: Iterable[str] | None, other: str, theirs: Iterable[str] | None
    ) -> None:
        """Demand that two sets of speakers share none.

        Args:
            one, other: what they are, such as "the trials of dev".
            ours, theirs: their speakers; None where they are not known.

        Raises:
            TidyVoiceError: they share speakers, and that was not allowed.
        """
        if ours is None or theirs is None:
            unknown = one if ours is None else other
            self.unchecked.append(f"{one} against {other}: the speakers of {unknown} are not known")
            return
        shared = sorted(set(ours) & set(theirs))
        if not shared:
            return
        names = ", ".join(shared[:NAMED]) + (", ..." if len(shared) > NAMED else "")
        said = f"{one} and {other} share {len(shared):,} speakers ({names})"
        if not self._allow:
            raise TidyVoiceError(
                f"{said}: results would flatter; take other speakers, or say --in-sample to have "
                "the report marked so"
            )
        self.in_sample.append(said)
