"""`otter-edge keys`: make, list and revoke the keys of robots, tablets and people."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from otter_runtime.keyring import Keyring

# As otter_robots.topics.ALLOW, which a test holds: help imports nothing that costs time.
ALLOW = ("observe", "ask", "command")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "action",
        choices=("make", "list", "revoke"),
        help="make a key for a new client, list who is allowed, or revoke a key, which ends its "
        "connections to a runtime that is up",
    )
    parser.add_argument("name", nargs="?", help="the client, for example arm or tablet-2")
    parser.add_argument(
        "--allow",
        choices=ALLOW,
        help="what it may: subscribe and read the past; ask as well; instruct, command and push "
        "frames as well",
    )
    parser.add_argument(
        "--keys", type=Path, metavar="DIR", help="the folder (default: ~/.config/otter-edge/keys)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Do it and say what was done; raises UserError."""
    from otter_runtime import folders
    from otter_runtime.keyring import Keyring

    folder = args.keys.absolute() if args.keys else folders.keys()
    if args.action == "make":
        return _make(args, folder)
    ring = Keyring(folder)
    return _list(args, ring) if args.action == "list" else _revoke(args, ring)


def _make(args: argparse.Namespace, folder: Path) -> int:
    from otter_runtime.errors import UserError
    from otter_runtime.keyring import make_folder

    name = _name(args)
    if args.allow is None:
        raise UserError(f"say what {name} may; give --allow {', '.join(ALLOW[:-1])} or {ALLOW[-1]}")
    path = make_folder(folder).make(name, args.allow)
    if args.json:
        print(json.dumps({"name": name, "allow": args.allow, "file": str(path)}))
    else:
        print(f"{name} may {args.allow}; move {path} to it, as a file that only it can read")
    return 0


def _list(args: argparse.Namespace, ring: Keyring) -> int:
    import msgspec

    for client in ring.listed():
        if args.json:
            print(json.dumps(msgspec.to_builtins(client)))
        else:
            print(f"{client.name:<20} {client.allow:<8} {client.made:<26} {client.public}")
    return 0


def _revoke(args: argparse.Namespace, ring: Keyring) -> int:
    name = _name(args)
    ring.revoke(name)
    if args.json:
        print(json.dumps({"revoked": name}))
    else:
        print(f"{name} is allowed no longer; a runtime that is up ends its connections in a second")
    return 0


def _name(args: argparse.Namespace) -> str:
    from otter_runtime.errors import UserError

    if args.name is None:
        raise UserError(f"whose key? write `otter-edge keys {args.action} NAME`")
    return str(args.name)
