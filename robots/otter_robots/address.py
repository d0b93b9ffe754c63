"""Where a run is, on a command line: the arguments that say so, and the client that goes there.

Shared by everything that talks to a run. The client is imported only when it is made, so that
`--help` needs no ZeroMQ.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from otter_robots.client import Client


def add_arguments(parser: argparse.ArgumentParser, stream: bool = True) -> None:
    """Declare --requests, --key and --folder, and --stream for who listens."""
    if stream:
        parser.add_argument(
            "--stream", metavar="ENDPOINT", help="the stream socket, as `otter-edge run` prints it"
        )
    parser.add_argument(
        "--requests", metavar="ENDPOINT", help="the requests socket, as `otter-edge run` prints it"
    )
    parser.add_argument(
        "--key", type=Path, metavar="FILE", help="a client's key, for tcp; see docs/security.md"
    )
    parser.add_argument("--folder", type=_absolute, metavar="DIR", help="the run's --folder")


def connect(args: argparse.Namespace, name: str) -> Client:
    """The client that these arguments ask for; raises AddressRefused and KeyFileRefused."""
    from otter_robots import endpoints
    from otter_robots.client import Client

    stream = getattr(args, "stream", None) or endpoints.stream_endpoint(args.folder)
    requests = args.requests or endpoints.requests_endpoint(args.folder)
    return Client(stream, requests, name, args.key)


def _absolute(word: str) -> Path:
    return Path(word).resolve()
