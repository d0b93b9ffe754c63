"""Sets Otter Edge beside the reference implementation, on folders of its recorded outputs.

    python benchmarks/parity.py tests/golden/* --backend torch

Prints a table, then one JSON line; with --json one JSON object per case. Exit code 1 if a logit
differs by more than the backend's tolerance or any generated id differs, 2 if a folder cannot be
read.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from otter_model.errors import ModelError
from otter_runtime.errors import OtterError

# fp32 on both sides; ONNX Runtime fuses and reorders more than PyTorch does.
TOLERANCE = {"torch": 2e-5, "onnx": 1e-4}
BACKENDS = {"torch": "otter_model.parity", "onnx": "otter_export.parity"}
CHECKS = ("ids_equal_seeing", "ids_equal_blind", "ids_equal_beam3")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the cases; returns the exit code."""
    options = _parser().parse_args(arguments)
    run_case: Callable[[str], Mapping[str, Any]]
    run_case = importlib.import_module(BACKENDS[options.backend]).run_case
    if not options.json:
        print(_row("case", "logit diff", "seeing", "blind", "beam3", ""), flush=True)
    verdicts, unreadable = [], 0
    for case in options.cases:
        try:
            verdicts.append(dict(run_case(case)))
        except (ModelError, OtterError) as error:
            print(f"{case}: {error}", file=sys.stderr)
            unreadable += 1
            continue
        _show(verdicts[-1], options)
    equal = all(passed(verdict, TOLERANCE[options.backend]) for verdict in verdicts)
    if not options.json:
        print(json.dumps({"backend": options.backend, "equal": equal, "cases": verdicts}))
    return 2 if unreadable else 0 if equal else 1


def passed(verdict: Mapping[str, Any], tolerance: float) -> bool:
    """Logits within `tolerance` and no generated id differs; a run that a case lacks is None."""
    close = verdict["max_abs_logit_diff"] <= tolerance
    return close and all(verdict[check] is not False for check in CHECKS)


def _show(verdict: Mapping[str, Any], options: argparse.Namespace) -> None:
    if options.json:
        print(json.dumps(verdict), flush=True)
        return
    marks = [{True: "equal", False: "DIFFERENT", None: "-"}[verdict[check]] for check in CHECKS]
    end = "" if passed(verdict, TOLERANCE[options.backend]) else "FAIL"
    print(_row(verdict["case"], f"{verdict['max_abs_logit_diff']:.1e}", *marks, end), flush=True)


def _row(case: str, difference: str, *marks: str) -> str:
    return f"{case:34}{difference:>11}  " + "".join(f"{mark:10}" for mark in marks).rstrip()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("cases", nargs="+", metavar="CASE_DIR", help="folder of a golden case")
    parser.add_argument("--backend", choices=sorted(BACKENDS), default="torch")
    parser.add_argument("--json", action="store_true", help="one JSON object per case, no table")
    return parser


if __name__ == "__main__":
    sys.exit(main())
