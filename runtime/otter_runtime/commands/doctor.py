"""`otter-edge doctor`: what is wrong with this machine and what helps, or how late a camera is."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from otter_runtime.config import RunConfig
    from otter_runtime.doctor.finding import Finding
    from otter_runtime.doctor.latency import Latency

# The whole screen in one colour, and the cursor out of sight; any terminal knows these.
BRIGHT, DARK = "\x1b[107m\x1b[2J\x1b[H", "\x1b[40m\x1b[2J\x1b[H"
BEGIN, END = "\x1b[?1049h\x1b[?25l", "\x1b[0m\x1b[?25h\x1b[?1049l"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("--bundle", type=Path, metavar="DIR", help="the model (default: the pocket model, int8)")
    add("--config", type=Path, metavar="FILE", help="check for a run with this YAML file")
    add(
        "--camera",
        metavar="SOURCE",
        help="measure instead how old this camera's pictures arrive: let it film this terminal, "
        "which flashes",
    )
    add("--seconds", type=float, default=15.0, metavar="S", help="flash for so long (default: 15)")
    add("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Tell what was found; 1 where something does not work."""
    from otter_runtime.config import read

    config = read(args.config, {"bundle": str(args.bundle) if args.bundle else None})
    if args.camera is not None:
        return _time(args.camera, args.seconds, args.json)
    return _examine(config, args.json)


def _examine(config: RunConfig, as_json: bool) -> int:
    import msgspec

    from otter_runtime.assembly import POCKET
    from otter_runtime.doctor.examination import examine
    from otter_runtime.doctor.host import Host

    findings = []
    for finding in examine(Host(), config, Path(config.bundle or POCKET)):
        findings.append(finding)
        if not as_json:
            print(_line(finding), flush=True)
    well = all(finding.level != "fail" for finding in findings)
    if as_json:
        print(json.dumps({"ok": well, "checks": msgspec.to_builtins(findings)}))
    return 0 if well else 1


def _line(finding: Finding) -> str:
    from otter_robots.terminal import printable

    remedy = f"\n      → {finding.remedy}" if finding.remedy else ""
    return f"{finding.level:<5} " + printable(f"{finding.check}: {finding.finding}") + remedy


def _time(source: str, seconds: float, as_json: bool) -> int:
    from dataclasses import asdict

    from otter_runtime.doctor.latency import measure
    from otter_runtime.drain import Drain
    from otter_runtime.errors import UserError
    from otter_runtime.sources import Spec

    if not 5 <= seconds <= 600:
        raise UserError(f"--seconds should be from 5 to 600, got {seconds:g}")
    screen = sys.stderr
    if not screen.isatty():
        raise UserError(
            "doctor --camera flashes the terminal, and this is none (standard error is a file); "
            "run it in a terminal that the camera sees"
        )
    spec = Spec(source)
    if not spec.live:
        raise UserError(f"{spec.name} is a recording and has no latency; give a camera or a stream")
    spec.open().close()
    drain = Drain([spec])

    def show(bright: bool) -> None:
        screen.write(BRIGHT if bright else DARK)
        screen.flush()

    screen.write(BEGIN)
    try:
        found = measure(drain, show, seconds)
    finally:
        screen.write(END)
        screen.flush()
        drain.close()
    print(json.dumps({"source": spec.name, **asdict(found)}) if as_json else _told(found))
    return 0


def _told(found: Latency) -> str:
    return (
        f"latency_ms: {found.latency_ms:.0f}    (± {found.plus_minus_ms:.0f} ms, fit "
        f"{found.fit:.2f}, {found.pictures} pictures, {found.flashes} flashes)\n"
        "the screen's own lag is in it; write the line into the configuration, or give --latency"
    )
