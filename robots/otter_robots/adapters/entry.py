"""What the command lines of all adapters share: their arguments, and how an end is told.

It knows no robot. An adapter's `__main__.py` adds its own arguments, and imports what its robot
needs only once they are read, so that `--help` works without it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from otter_robots import address
from otter_robots.errors import OtterError
from otter_robots.interrupt import interruptible
from otter_robots.terminal import printable


def arguments(name: str, about: str) -> argparse.ArgumentParser:
    """A parser with the arguments that every adapter has."""
    parser = argparse.ArgumentParser(prog=f"python -m otter_robots.adapters.{name}")
    parser.description = about
    address.add_arguments(parser)
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="a YAML file; see config.yaml in the folder"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be done; do nothing")
    parser.add_argument("--json", action="store_true", help="print one JSON object per event")
    return parser


def carry_out(name: str, run: Callable[[], None]) -> int:
    """Run until it ends or is told to (SIGINT, SIGTERM: 0); an error is one sentence and its code.

    A missing package is answered with the line that installs it.
    """
    interruptible()
    try:
        run()
    except KeyboardInterrupt:
        return 0
    except OtterError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package.startswith("otter_"):
            raise
        install = f"pip install 'otter-robots[{name}]'"
        print(f"{name}: the package {package} is not installed; {install}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Our reader left. Python would complain once more while flushing at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return 0


class Events:
    """What an adapter did and noticed, a line each: for people, or JSON for programs."""

    def __init__(self, as_json: bool, to: TextIO | None = None) -> None:
        self.as_json = as_json
        self._to = to or sys.stdout

    def __call__(self, event: str, **fields: object) -> None:
        """Print one event; what a model or a robot wrote cannot move the cursor."""
        if self.as_json:
            print(json.dumps({"event": event, **fields}), file=self._to, flush=True)
            return
        said = "  ".join(f"{name} {value}" for name, value in fields.items())
        line = f"{event}: {said}" if said else event
        print(printable(line), file=self._to, flush=True)
