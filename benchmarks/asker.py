"""A question from another process: put into a brain's channel after a while, and when that was.

A thread of the brain's own process would need its interpreter, and what was measured would be how
the two hand it over. Run as a program it is the other process: for each line of its input (seconds
to wait, the message in hexadecimal) it prints when it sent that, in seconds of the machine's
monotonic clock.

    python benchmarks/asker.py DESCRIPTOR
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time

import msgspec

from otter_runtime.wire import LENGTH, Ask


class Asker:
    """The process, and what it is told; `end` is the front's end of the channel."""

    def __init__(self, end: socket.socket) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(end.fileno())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[end.fileno()],
            text=True,
            bufsize=1,
        )
        self._line()  # it is there

    def ask(self, ask: Ask, delay_s: float) -> None:
        """Send `ask` in `delay_s` seconds."""
        assert self._process.stdin is not None
        body = msgspec.msgpack.encode(ask)
        message = LENGTH.pack(len(body)) + body
        self._process.stdin.write(f"{delay_s} {message.hex()}\n")

    def asked_s(self) -> float:
        """When the last one was sent; once for each."""
        return float(self._line())

    def close(self) -> None:
        """End it."""
        with self._process:
            pass

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


def main(descriptor: str) -> None:
    """Send what the input says, when it says."""
    with socket.socket(fileno=int(descriptor)) as end:
        print("ready", flush=True)
        for line in sys.stdin:
            delay_s, message = line.split()
            body = bytes.fromhex(message)
            time.sleep(float(delay_s))
            asked_s = time.monotonic()
            end.send(body)
            print(asked_s, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
