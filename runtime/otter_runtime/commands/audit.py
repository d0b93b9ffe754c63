"""`otter-edge audit`: who connected to a runtime, who was turned away, who ordered what."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from otter_runtime.audit import Entry


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--folder", type=Path, metavar="DIR", help="the run's --folder")
    parser.add_argument("--last", type=int, metavar="N", help="only the newest so many lines")
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")


def run(args: argparse.Namespace) -> int:
    """Print what is kept, oldest first; raises UserError where there is nothing."""
    import msgspec

    from otter_runtime import audit, folders
    from otter_runtime.errors import UserError

    folder = args.folder or folders.state()
    entries = audit.read(folder)
    if not entries:
        raise UserError(f"there is no audit in {folder}; give the --folder of a run")
    for entry in entries[-args.last :] if args.last else entries:
        print(json.dumps(msgspec.to_builtins(entry)) if args.json else _line(entry))
    return 0


def _line(entry: Entry) -> str:
    from datetime import datetime, timezone

    from otter_robots.terminal import printable

    when = datetime.fromtimestamp(entry.wall_ns / 1e9, timezone.utc).isoformat(timespec="seconds")
    who = entry.client or (f"key {entry.key[:8]}..." if entry.key else "somebody here")
    rest = " ".join(word for word in (entry.address, entry.detail) if word)
    times = f" ({entry.times} times)" if entry.times > 1 else ""
    return printable(f"{when}  {entry.what:<9}  {who}  {rest}{times}")
