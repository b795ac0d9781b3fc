"""How far an extraction is: on a terminal one line that is renewed, in a log a line a minute."""

import sys
import time

ON_TERMINAL, IN_LOG = 0.5, 60.0  # seconds between two


def clock(seconds: float) -> str:
    """Hours, minutes and seconds, as 1:02:03 or 2:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Progress:
    """Counts utterances and seconds of audio.

    Args:
        name: what is worked on; nothing is shown without.
        total: seconds of audio to do.
    """

    def __init__(self, name: str | None, total: float):
        self._name = name
        self._total = total
        self._start = self._shown = time.monotonic()
        self._tty = sys.stderr.isatty()
        self.utterances, self.audio = 0, 0.0

    def add(self, utterances: int, audio: float) -> None:
        self.utterances += utterances
        self.audio += audio
        now = time.monotonic()
        if self._name and now - self._shown >= (ON_TERMINAL if self._tty else IN_LOG):
            self._shown = now
            print(f"{self._name}: {self}", end="\r" if self._tty else "\n", file=sys.stderr)

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return max(time.monotonic() - self._start, 1e-6)

    def __str__(self) -> str:
        rate = self.audio / self.elapsed
        left = clock((self._total - self.audio) / rate) if rate else "?"
        done = self.audio / self._total if self._total else 1.0
        return (
            f"{100 * done:3.0f} %, {self.utterances / self.elapsed:,.1f} utterances/s, "
            f"{rate:,.0f} x real time, {left} left "
        )

    def close(self) -> None:
        """Leave the line on the terminal."""
        if self._name and self._tty:
            print(file=sys.stderr)
