"""Progress on long work, to stderr: one line that changes on a terminal, one per step elsewhere."""

from __future__ import annotations

import sys
import time


class Bar:
    """`with Bar() as bar: bar("blocks", 3, 24)`."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._begun = time.monotonic()
        self._live = sys.stderr.isatty()
        self._what = ""

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live and not self._quiet and self._what:
            print(file=sys.stderr)

    def __call__(self, what: str, done: int, total: int) -> None:
        """Say that `done` of `total` steps of `what` are done."""
        if self._quiet or not (self._live or what != self._what or done == total):
            return
        self._what = what
        line = f"{time.monotonic() - self._begun:6.0f} s  {what}  {done}/{total}"
        print(
            f"\r\x1b[K{line}" if self._live else line,
            end="" if self._live else "\n",
            file=sys.stderr,
            flush=True,
        )
