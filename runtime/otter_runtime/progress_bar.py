"""Progress on long work, to stderr: a line that changes on a terminal, a few lines elsewhere."""

from __future__ import annotations

import sys
import time

SILENCE_S = 30.0  # where there is no terminal, a long step says so often that it goes on


class Bar:
    """`with Bar() as bar: bar("blocks", 3, 24)`."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._begun = time.monotonic()
        self._live = sys.stderr.isatty()
        self._told = self._begun
        self._said = ("", 0, 0)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live and not self._quiet and self._said[0]:
            print(file=sys.stderr)

    def __call__(self, what: str, done: int, total: int) -> None:
        """Say that `done` of `total` steps of `what` are done."""
        now = time.monotonic()
        said, self._said = self._said, (what, done, total)
        news = what != said[0] or (done == total and self._said != said)
        if self._quiet or not (self._live or news or now - self._told > SILENCE_S):
            return
        self._told = now
        line = f"{now - self._begun:6.0f} s  {what}  {done}/{total}"
        print(
            f"\r\x1b[K{line}" if self._live else line,
            end="" if self._live else "\n",
            file=sys.stderr,
            flush=True,
        )
