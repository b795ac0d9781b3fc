"""What a check found: one line each, with the measured value, the expected one and the mend."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Status = Literal["OK", "WARN", "FAIL"]
MEANINGS: dict[Status, str] = {"OK": "as expected", "WARN": "to be looked at", "FAIL": "to mend"}


@dataclass(frozen=True)
class Finding:
    """One fact about the machine or the data.

    Attributes:
        status: FAIL stops a stage, or makes its result another; WARN may; OK does not.
        subject: what was looked at: a program, a file, a folder.
        measured: what it is like.
        expected: what it should be like, where there is such a thing.
        mend: what to do; empty for OK.
    """

    status: Status
    subject: str
    measured: str
    expected: str = ""
    mend: str = ""

    def __str__(self) -> str:
        expected = f" (expected {self.expected})" if self.expected else ""
        mend = f": {self.mend}" if self.mend else ""
        return f"{self.status:<4}  {self.subject}: {self.measured}{expected}{mend}"


def judge(
    sound: bool,
    subject: str,
    measured: str,
    expected: str = "",
    mend: str = "",
    otherwise: Status = "FAIL",
) -> Finding:
    """OK if ``sound``, else ``otherwise`` with the mend."""
    if sound:
        return Finding("OK", subject, measured, expected)
    return Finding(otherwise, subject, measured, expected, mend)


def count(findings: Iterable[Finding]) -> dict[Status, int]:
    """How many there are of each status."""
    numbers: dict[Status, int] = dict.fromkeys(MEANINGS, 0)
    for finding in findings:
        numbers[finding.status] += 1
    return numbers


def about(number: float) -> str:
    """A number to two digits."""
    return f"{float(f'{number:.2g}'):,.15g}"


def size(number: float) -> str:
    """Bytes as people read them, in powers of 1,000: 1.5 GB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 999.5:  # what three digits round to 1,000 goes to the next unit
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:,.1f} TB"
