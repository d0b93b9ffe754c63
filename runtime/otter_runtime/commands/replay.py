"""`otter-edge replay`: a trial again, onto a bus, through a model, or asked something new."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from otter_runtime.commands.seconds import seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otter_runtime.frame import Stamp
    from otter_runtime.trials.replay import Replay
    from otter_runtime.trials.trial import Record, Trial


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments; without --recompute and --ask it is told again as it was."""
    add = parser.add_argument
    add("trial", type=Path, metavar="TRIAL", help="a trial's folder or file")
    add("--from", dest="since", metavar="T", help="begin at 12.5 (seconds) or 20:15:30 (UTC)")
    add("--to", metavar="T", help="end there")
    add("--speed", type=_speed, default=1.0, metavar="X", help="so many times faster")
    add("--wait", type=seconds, default=0.0, metavar="S", help="wait so long for a subscriber")
    add("--folder", type=lambda word: Path(word).resolve(), metavar="DIR", help="the bus's folder")
    add("--stream", metavar="ENDPOINT", help="the stream socket, ipc://path or tcp://host:port")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--recompute", action="store_true", help="as quickly as possible through the step loop"
    )
    what.add_argument("--ask", metavar="QUESTION", help="a question that nobody asked then")
    add("--at", metavar="T", help="the moment of --ask (default: the trial's end)")
    add("--bundle", type=Path, metavar="DIR", help="another model than the one that was recorded")
    add(
        "--as-seen",
        action="store_true",
        help="answer each from the very frames that it was answered from, however long it takes",
    )
    add("-o", "--output", type=Path, metavar="DIR", help="write it as a trial into a new folder")
    add("--json", action="store_true", help="print JSON, an object per line")


def run(args: argparse.Namespace) -> int:
    """Replay to the end or until SIGINT or SIGTERM, which end it with code 0; raises TrialError."""
    from otter_runtime.trials.trial import Trial

    _check(args)
    trial = Trial(args.trial)
    if args.ask is not None:
        return _ask(args, trial)
    return _recompute(args, trial) if args.recompute else _tell(args, trial)


def _check(args: argparse.Namespace) -> None:
    from otter_runtime.errors import UserError

    modelled = args.recompute or args.ask is not None
    if not modelled and (args.bundle or args.as_seen or args.output):
        raise UserError("a trial that is told as it was needs no model; add --recompute")
    if args.at is not None and args.ask is None:
        raise UserError("--at is the moment of a question; add --ask, or give --from and --to")


# As it was, onto a bus.


def _tell(args: argparse.Namespace, trial: Trial) -> int:
    from otter_robots import endpoints
    from otter_runtime.commands.run import printer
    from otter_runtime.trials.broadcast import Broadcast

    stream = args.stream or endpoints.stream_endpoint(args.folder)
    with Broadcast(stream) as bus:
        _on_signals(bus.stop)
        print(f"otter-edge: {trial.name} to {bus.stream}, replay topics", file=sys.stderr)
        bus.wait_for_somebody(args.wait)
        told = bus.play(_published(args, trial), args.speed, printer(args.json))
    print(f"otter-edge: {told} messages told", file=sys.stderr)
    return 0


def _published(args: argparse.Namespace, trial: Trial) -> Iterator[Record]:
    from otter_runtime.trials.channels import PUBLISHED

    begin_ns, end_ns = _span(args, trial)
    for record in trial.records(PUBLISHED):
        if begin_ns <= record.log_ns <= end_ns:
            yield record


def _span(args: argparse.Namespace, trial: Trial) -> tuple[int, int]:
    from otter_runtime.trials.moment import FOREVER_NS, moment

    begin_ns = moment(args.since, trial) if args.since else 0
    return begin_ns, moment(args.to, trial) if args.to else FOREVER_NS


# Through a model.


def _recompute(args: argparse.Namespace, trial: Trial) -> int:
    from otter_runtime.trials.replay import Replay
    from otter_runtime.trials.written import new_folder, write

    begin_ns, end_ns = _span(args, trial)
    folder = new_folder(args.output) if args.output else None
    replay = Replay(trial, args.bundle, seen=args.as_seen, until_ns=end_ns)
    stopped = _Stopped()
    _on_signals(stopped.stop)
    records = stopped.before(_progress(replay, args.json or not folder))
    if folder:
        write(replay, records, folder)
    else:
        _print(records, begin_ns, args.json)
    _say_lacking(replay)
    return 0


class _Stopped:
    """Whether a signal came; records end there."""

    def __init__(self) -> None:
        self._now = False

    def stop(self) -> None:
        self._now = True

    def before(self, records: Iterator[Record]) -> Iterator[Record]:
        for record in records:
            if self._now:
                return
            yield record


def _progress(replay: Replay, quiet: bool) -> Iterator[Record]:
    from otter_runtime.progress_bar import Bar

    total = round(replay.trial.seconds)
    with Bar(quiet) as bar:
        for record in replay.records(inputs=True):
            passed_s = (record.log_ns - replay.trial.begun_ns) // 1_000_000_000
            bar("seconds", min(max(passed_s, 0), total), total)
            yield record


def _print(records: Iterator[Record], begin_ns: int, as_json: bool) -> None:
    from otter_runtime.commands.run import printer
    from otter_runtime.trials.channels import MADE_ANEW, opened

    say = printer(as_json)
    for record in records:
        if record.topic in MADE_ANEW and record.log_ns >= begin_ns:
            say(*opened(record.data))


def _say_lacking(replay: Replay) -> None:
    lacking = replay.lacking
    print(f"otter-edge: {replay.frames} frames, {replay.bundle}", file=sys.stderr)
    if lacking.messages:
        print(f"otter-edge: {lacking.messages} messages are missing", file=sys.stderr)
    for number, why in list(lacking.frames.items())[:1]:
        more = f" (and {len(lacking.frames) - 1} more)" if len(lacking.frames) > 1 else ""
        print(f"otter-edge: without frame {number}{more}: {why}", file=sys.stderr)


# Something new.


def _ask(args: argparse.Namespace, trial: Trial) -> int:
    import msgspec

    from otter_robots.messages import Answer
    from otter_robots.terminal import printable
    from otter_runtime.trials.hindsight import Hindsight
    from otter_runtime.trials.moment import moment

    at_ns = moment(args.at, trial) if args.at else trial.ended_ns
    hindsight = Hindsight(trial, at_ns, args.bundle)
    reply = hindsight.ask(args.ask)
    frames = [
        {"id": one.id, "source": one.source, "index": one.index, "seconds": _seconds(one, trial)}
        for one in hindsight.stamps(reply)
    ]
    if args.json:
        print(json.dumps({**msgspec.to_builtins(reply), "frames": frames}))
    elif isinstance(reply, Answer):
        print("\n".join(map(printable, reply.text.splitlines())))
        for one in frames:
            print(printable(f"frame {one['id']} at {one['seconds']:.2f} s, {one['source']}"))
    else:
        print(f"no answer: {printable(reply.detail or reply.reason)}")
    return 0 if isinstance(reply, Answer) else 1


def _seconds(stamp: Stamp, trial: Trial) -> float:
    return (stamp.mono_ns + trial.ahead_ns - trial.begun_ns) / 1e9


def _on_signals(stop: Callable[[], None]) -> None:
    import signal

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop())


def _speed(word: str) -> float:
    value = float(word)
    if not 1e-3 <= value <= 1e6:
        raise argparse.ArgumentTypeError(f"{word} is not a speed from 0.001 to 1000000")
    return value
