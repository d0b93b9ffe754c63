"""`otter-edge record`: what a run publishes, recorded by a process of its own.

It is a subscriber like any other: it has what is on the bus. Frames and requests are not, so
a trial that is to be replayed is recorded by the run itself (`otter-edge run --record`).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from otter_runtime.commands.seconds import seconds

if TYPE_CHECKING:
    from otter_robots.client import Client
    from otter_runtime.trials.recorder import Recorder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("to", type=Path, metavar="DIR", help="the folder of trials; this one gets a folder in it")
    add("--timeout", type=seconds, metavar="S", help="end after this many seconds of silence")
    add("--all", action="store_true", help="begin with all that the run's journal has kept")
    add("--stream", metavar="ENDPOINT", help="the stream socket, as `otter-edge run` prints it")
    add("--requests", metavar="ENDPOINT", help="the requests socket")
    add("--key", type=Path, metavar="FILE", help="a client's key, for tcp; see docs/security.md")
    add("--folder", type=lambda word: Path(word).resolve(), metavar="DIR", help="run's --folder")


def run(args: argparse.Namespace) -> int:
    """Record until the run ends for good, the silence, or an interrupt, which ends with 0."""
    import contextlib

    from otter_robots import endpoints
    from otter_robots.client import Client
    from otter_robots.interrupt import interruptible
    from otter_runtime.config import RecordConfig
    from otter_runtime.trials.recorder import Recorder

    interruptible()
    stream = args.stream or endpoints.stream_endpoint(args.folder)
    requests = args.requests or endpoints.requests_endpoint(args.folder)
    with Client(stream, requests, "otter-edge record", args.key) as bus:
        recorder = Recorder(RecordConfig(folder=str(args.to)), {})
        print(f"otter-edge: recording {stream} to {recorder.folder}", file=sys.stderr, flush=True)
        try:
            with contextlib.suppress(KeyboardInterrupt):
                _record(bus, recorder, args)
        finally:
            recorder.close()
    print(f"otter-edge: {recorder.recorded} messages, {recorder.unrecorded} not", file=sys.stderr)
    return 0


def _record(bus: Client, recorder: Recorder, args: argparse.Namespace) -> None:
    from otter_robots.client import OLDEST
    from otter_robots.messages import Lost
    from otter_robots.topics import TOPICS

    since = OLDEST if args.all else {t.name: None for t in TOPICS.values() if t.journalled}
    told = ""
    for envelope, message in bus.messages(None, args.timeout, since=since):
        if isinstance(message, Lost):
            print(f"otter-edge: {message.count} of {message.topic} are gone", file=sys.stderr)
            continue
        recorder.heard(envelope, message)
        if recorder.trouble != told:
            told = recorder.trouble
            print(f"otter-edge: {told or 'recording again'}", file=sys.stderr, flush=True)
