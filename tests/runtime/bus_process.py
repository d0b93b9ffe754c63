"""A publisher in a process of its own, for tests: ticks, answers questions, dies as told.

    python bus_process.py STREAM REQUESTS JOURNAL [OPTIONS]

It ticks every `--every-ms`, `--ticks` times, with `--answers` answers in one go and `--beats`
heartbeats. Its journal keeps `--keep-mb` and looks every `--prune-every` messages. Over tcp it
asks for the keys in the folder `--keys`. `--die` kills its process by SIGKILL when the answer
"fatal" is to be journalled, before or after it is on disk. `--file-limit` lets no file grow beyond
so many bytes: a disk that fills up.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
from collections.abc import Sequence
from pathlib import Path

from otter_robots.envelope import Envelope
from otter_robots.messages import Ack, Answer, Cancel, Command, Health, Instruct, Question
from otter_robots.topics import ANSWER, COMMAND, HEALTH
from otter_runtime import journal as journal_module
from otter_runtime.bus import Bus, Request
from otter_runtime.journal import Journal
from otter_runtime.keyring import Keyring


class MortalJournal(Journal):
    """Kills its process around the append of the answer "fatal"."""

    def __init__(self, path: Path, die: str, keep_mb: float) -> None:
        super().__init__(path, keep_mb=keep_mb)
        self.die = die

    def append_all(self, messages: Sequence[tuple[Envelope, bytes]]) -> None:
        fatal = any(b"fatal" in bytes(envelope.body) for envelope, _ in messages)
        if fatal and self.die == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        super().append_all(messages)
        if fatal and self.die == "after":
            os.kill(os.getpid(), signal.SIGKILL)


def answer(text: str, question_id: str | None = None) -> Answer:
    return Answer(
        text=text,
        question_id=question_id,
        frame_ids=(1, 2),
        captured_mono_ns=0,
        captured_wall_ns=0,
        age_ms=1.0,
        ttl_ms=1000.0,
        model_hash="0" * 64,
    )


def reply(bus: Bus, request: Request) -> None:
    message = request.message
    if isinstance(message, Command):
        bus.publish(COMMAND, message)
    bus.reply(request, Ack())
    if isinstance(message, Question) and message.text != "silence":
        bus.reply(request, bus.publish(ANSWER, answer(message.text, message.id)))
    elif isinstance(message, Instruct):
        bus.publish(ANSWER, answer(f"{message.text} every {message.interval_s:g} s"))
    elif isinstance(message, Cancel):
        bus.publish(ANSWER, answer(f"cancelled {message.question_id}"))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("stream")
    parser.add_argument("requests")
    parser.add_argument("journal", type=Path)
    parser.add_argument("--keys", type=Path)
    parser.add_argument("--die", default="never")
    parser.add_argument("--file-limit", type=int)
    parser.add_argument("--keep-mb", type=float, default=1000.0)
    parser.add_argument("--prune-every", type=int, default=500)
    parser.add_argument("--ticks", type=int, default=1 << 40)
    parser.add_argument("--every-ms", type=int, default=5)
    parser.add_argument("--answers", type=int, default=1)
    parser.add_argument("--beats", type=int, default=1)
    args = parser.parse_args()
    journal_module.PRUNE_EVERY = args.prune_every
    if args.file_limit:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (args.file_limit, args.file_limit))
    keyring = Keyring(args.keys) if args.keys else None
    journal = MortalJournal(args.journal, args.die, args.keep_mb)
    with Bus(args.stream, args.requests, journal, keyring) as bus:
        print(json.dumps({"stream": bus.stream, "requests": bus.requests}), flush=True)
        tick = 0
        while True:
            for request in bus.poll(args.every_ms):
                reply(bus, request)
            if tick == args.ticks:
                continue
            tick += 1
            with bus.batch():
                for number in range(args.answers):
                    bus.publish(ANSWER, answer(f"tick {tick} {number}"))
                for _ in range(args.beats):
                    bus.publish(HEALTH, Health(uptime_s=0, journal_ok=bus.journal_ok))


if __name__ == "__main__":
    main()
