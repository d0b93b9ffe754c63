"""`otter-edge run`: watch a camera or a video and publish plans until it ends."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from otter_robots.envelope import Envelope
    from otter_robots.messages import Message
    from otter_runtime.config import RunConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments; each overrides the name it has in the configuration file."""
    add = parser.add_argument
    add(
        "--source",
        nargs="+",
        action="extend",
        metavar="SOURCE",
        help="a video file, a folder of images, a camera number, a stream's address, "
        "`gst: PIPELINE` of GStreamer, or `bus` for frames that a robot pushes; several files are "
        "played one after the other",
    )
    add("--latency", type=float, metavar="MS", help="how old a camera's pictures arrive here")
    add("--bundle", metavar="DIR", help="the model (default: the pocket model, int8)")
    add(
        "--instruction",
        action="append",
        metavar="TEXT",
        help="asked again and again; once for all sources, or once for each",
    )
    add("--interval", type=float, metavar="S", help="seconds between two instructions (default: 1)")
    add("--fast", action="store_true", help="see every frame, as quickly as it is answered")
    add("--speed", type=float, metavar="X", help="play recordings so many times faster")
    add("--wait", type=float, metavar="S", help="wait so long for a first subscriber (default: 0)")
    add("--folder", metavar="DIR", help="where both sockets and the journal are")
    add("--stream", metavar="ENDPOINT", help="the stream socket, ipc://path or tcp://host:port")
    add("--requests", metavar="ENDPOINT", help="the requests socket, alike")
    add("--keys", metavar="DIR", help="let in only who has a key of this folder, over tcp")
    add("--record", metavar="DIR", help="record a trial into this folder; see docs/trials.md")
    add("--threads", type=int, metavar="N", help="threads of the engines")
    add("--health", metavar="ADDRESS", help="serve /healthz, /readyz, /metrics; 127.0.0.1:9464")
    add("--log", metavar="FILE", help="write what is published as JSON lines; - is standard output")
    add("--config", type=Path, metavar="FILE", help="a YAML file; see docs/device.md")
    add("--json", action="store_true", help="print what is published, one JSON object per line")


def run(args: argparse.Namespace) -> int:
    """Run until the source is played out or SIGINT or SIGTERM comes; both end with code 0."""
    from otter_runtime.assembly import assembled
    from otter_runtime.config import read
    from otter_runtime.garbage import settle

    config = read(args.config, _overrides(args))
    with assembled(config, *_printers(args.json, config.log.file)) as front:
        _announce(config, front.bus.stream, front.bus.requests)
        settle()
        front.run()
    return 0


def _overrides(args: argparse.Namespace) -> dict[str, Any]:
    return {
        "source": args.source,
        "bundle": args.bundle,
        "instruction": args.instruction,
        "interval_s": args.interval,
        "fast": args.fast or None,
        "speed": args.speed,
        "latency_ms": args.latency,
        "wait_s": args.wait,
        "bus": {
            "folder": args.folder,
            "stream": args.stream,
            "requests": args.requests,
            "keys": args.keys,
        },
        "brain": {"threads": args.threads},
        "health": {"address": args.health},
        "log": {"file": args.log},
        "record": {"folder": args.record},
    }


def _announce(config: RunConfig, stream: str, requests: str) -> None:
    from otter_runtime.sources import public

    print(
        f"otter-edge: {', '.join(map(public, config.source))} to {stream}, requests at {requests}",
        file=sys.stderr,
        flush=True,
    )


def _printers(as_json: bool, log: str | None) -> list[Callable[[Envelope, Message], None]]:
    """None where the log has the standard output to itself."""
    from otter_runtime.errors import UserError

    if log != "-":
        return [printer(as_json)]
    if as_json:
        raise UserError("--json and a log at - both write to standard output; leave one out")
    return []


def printer(as_json: bool) -> Callable[[Envelope, Message], None]:
    """Prints what is published: all of it as JSON lines, or what people want to read."""
    import msgspec

    from otter_robots.envelope import as_dict
    from otter_robots.messages import Abstain, Answer, Command, Fault, Governor, Status

    def say(envelope: Envelope, message: Message) -> None:
        if as_json:
            print(msgspec.json.encode(as_dict(envelope, message)).decode(), flush=True)
        elif isinstance(message, (Answer, Abstain, Command, Fault, Governor, Status)):
            print(_line(message), flush=True)

    return say


def _line(message: Message) -> str:
    from otter_robots.describe import describe
    from otter_robots.messages import Status
    from otter_robots.terminal import printable

    source = f" ({message.source})" if isinstance(message, Status) and message.source else ""
    return printable(describe(message) + source)
