"""How a command is told to end: SIGINT and SIGTERM, both a KeyboardInterrupt."""

from __future__ import annotations

import signal

INTERRUPTED = 130  # the exit code of a command that was told to, as a shell has it


def interruptible() -> None:
    """From now on either of them raises KeyboardInterrupt in the main thread.

    A shell has what it starts in the background ignore SIGINT; who sends it there means it, too.
    """
    for told in (signal.SIGINT, signal.SIGTERM):
        signal.signal(told, signal.default_int_handler)
