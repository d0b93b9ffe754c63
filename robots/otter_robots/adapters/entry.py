"""What the command lines of all adapters share: where the bus is, and how an end is told.

It knows no robot. An adapter's `__main__.py` adds its own arguments, and imports what its robot
needs only once they are read, so that `--help` works without it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from otter_robots.errors import OtterError

if TYPE_CHECKING:
    from otter_robots.client import Client


def arguments(name: str, about: str) -> argparse.ArgumentParser:
    """A parser with the arguments that every adapter has."""
    parser = argparse.ArgumentParser(prog=f"python -m otter_robots.adapters.{name}")
    parser.description = about
    parser.add_argument("--folder", type=_absolute, metavar="DIR", help="the run's --folder")
    parser.add_argument(
        "--stream", metavar="ENDPOINT", help="the stream socket, as `otter-edge run` prints it"
    )
    parser.add_argument("--requests", metavar="ENDPOINT", help="the requests socket, alike")
    parser.add_argument(
        "--key", type=Path, metavar="FILE", help="a client's key, for tcp; see docs/security.md"
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="a YAML file; see config.yaml in the folder"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be done; do nothing")
    parser.add_argument("--json", action="store_true", help="print one JSON object per event")
    return parser


def _absolute(word: str) -> Path:
    return Path(word).resolve()


def connect(args: argparse.Namespace, name: str) -> Client:
    """The client that these arguments ask for; raises AddressRefused and KeyFileRefused."""
    from otter_robots import endpoints
    from otter_robots.client import Client

    stream = args.stream or endpoints.stream_endpoint(args.folder)
    requests = args.requests or endpoints.requests_endpoint(args.folder)
    return Client(stream, requests, name, args.key)


def carry_out(name: str, run: Callable[[], None]) -> int:
    """Run until it ends or is told to (SIGINT, SIGTERM: 0); an error is one sentence and its code.

    A missing package is answered with the line that installs it.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
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
        print("".join(c if c.isprintable() else " " for c in line), file=self._to, flush=True)
