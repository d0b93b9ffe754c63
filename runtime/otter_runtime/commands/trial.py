"""`otter-edge trial`: list, look into, check, repair and export recorded trials."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from otter_runtime.trials.check import Report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the acts and their arguments."""
    acts = parser.add_subparsers(dest="act", required=True, metavar="ACT")
    listing = acts.add_parser("list", help="the trials of a folder, oldest first")
    listing.add_argument("trial", type=Path, metavar="DIR", help="a folder of trials")
    info = acts.add_parser("info", help="what was recorded: build, machine, model, power mode")
    info.add_argument("trial", type=Path, metavar="TRIAL", help="a trial's folder or file")
    check = acts.add_parser("check", help="read every byte; exit code 1 where something is missing")
    check.add_argument("trial", type=Path, metavar="TRIAL", help="a trial's folder or file")
    repair = acts.add_parser("repair", help="write what is whole anew, with index and footer")
    repair.add_argument("trial", type=Path, metavar="TRIAL", help="a trial's folder or file")
    repair.add_argument(
        "-o", "--output", type=Path, required=True, metavar="DIR", help="a new folder"
    )
    answers = acts.add_parser("answers", help="every answer, one JSON object per line")
    answers.add_argument("trial", type=Path, metavar="TRIAL", help="a trial's folder or file")
    export = acts.add_parser("export", help="for other tools: Rerun, rosbag2, LeRobot, MIMIC-IT")
    export.add_argument("trial", type=Path, metavar="TRIAL", help="a trial's folder or file")
    export.add_argument(
        "--to", required=True, metavar="FORMAT", help="rerun, rosbag2, lerobot or mimicit"
    )
    export.add_argument(
        "-o", "--output", type=Path, required=True, metavar="PATH", help="a new file or folder"
    )
    export.add_argument(
        "--corrections",
        type=Path,
        metavar="FILE",
        help="JSON lines: which answers are right",
    )
    for act in (listing, info, check, repair, export):
        act.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Do it; raises TrialError."""
    acts = {
        "list": _list,
        "info": _info,
        "check": _check,
        "repair": _repair,
        "answers": _answers,
        "export": _export,
    }
    return acts[args.act](args)


def _list(args: argparse.Namespace) -> int:
    from otter_runtime.errors import TrialError
    from otter_runtime.trials.shelf import trials_in

    if not args.trial.is_dir():
        raise TrialError(f"there is no folder {args.trial}; give the one that `--record` had")
    rows = [_row(path) for path in trials_in(args.trial)]
    if args.json:
        print(json.dumps(rows))
    else:
        for row in rows:
            state = "finished" if row["finished"] else "open"
            print(f"{row['name']}  {row['files']:4} files  {row['bytes'] / 1e6:9.1f} MB  {state}")
    return 0


def _row(path: Path) -> dict[str, Any]:
    from otter_runtime.trials.segment import PART

    files = [file for file in path.iterdir() if file.is_file()]
    return {
        "name": path.name,
        "files": len(files),
        "bytes": sum(file.stat().st_size for file in files),
        "finished": not any(file.name.endswith(PART) for file in files),
    }


def _info(args: argparse.Namespace) -> int:
    from otter_robots.terminal import printable
    from otter_runtime.trials.trial import Trial

    trial = Trial(args.trial)
    if args.json:
        print(json.dumps({"metadata": trial.metadata, "attachments": list(trial.attachments)}))
        return 0
    for name, values in trial.metadata.items():
        for key, value in values.items():
            print(printable(f"{name + '.' + key:<24} {value}"))
    return 0


def _check(args: argparse.Namespace) -> int:
    from otter_runtime.trials.check import check

    report = check(args.trial)
    _print(report, args.json)
    return 0 if report.whole else 1


def _repair(args: argparse.Namespace) -> int:
    import msgspec

    from otter_runtime.trials.repair import repair

    before, after = repair(args.trial, args.output)
    if args.json:
        both = {"before": msgspec.to_builtins(before), "after": msgspec.to_builtins(after)}
        print(json.dumps(both))
        return 0
    _print(before, False)
    print(f"written to {args.output}:")
    _print(after, False)
    return 0


def _answers(args: argparse.Namespace) -> int:
    from otter_runtime.trials.exports.answers import answers
    from otter_runtime.trials.trial import Trial

    for line in answers(Trial(args.trial)):
        print(json.dumps(line))
    return 0


def _export(args: argparse.Namespace) -> int:
    import msgspec

    from otter_robots.terminal import printable
    from otter_runtime.progress_bar import Bar
    from otter_runtime.trials.exports.export import export

    with Bar(quiet=args.json) as bar:
        told = export(args.trial, args.output, args.to, args.corrections, bar)
    if args.json:
        print(json.dumps(msgspec.to_builtins(told)))
        return 0
    had = ", ".join(f"{count} {kind}" for kind, count in told.written.items())
    print(printable(f"{told.path}: {had or 'nothing'}"))
    for one in told.missing:
        print(printable(f"  missing: {one}"))
    return 0


def _print(report: Report, as_json: bool) -> None:
    import msgspec

    from otter_robots.terminal import printable
    from otter_runtime.trials.check import lines

    if as_json:
        print(json.dumps({**msgspec.to_builtins(report), "whole": report.whole}))
        return
    for line in lines(report):
        print(printable(line))
