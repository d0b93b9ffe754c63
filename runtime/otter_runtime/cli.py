"""The one command line, `otter-edge`: finds the command, runs it, says what went wrong.

It knows the names of commands and what they need, and imports a command only to run it or to show
its help, so that help costs no numpy, cv2, zmq, onnxruntime or torch. The workstation's commands
join through the entry-point group `otter_edge.commands`.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from otter_robots.interrupt import INTERRUPTED
from otter_robots.terminal import printable
from otter_runtime.errors import MissingExtra, OtterError, UserError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "otter_edge.commands"

# Each is a module of otter_runtime.commands.
COMMANDS = {
    "demo": "answer planning questions from a recorded clip, with the bundled model",
    "run": "watch a camera or a video and publish plans",
    "ask": "ask a running assistant a question",
    "sub": "print what is published, live",
    "voice": "talk with the assistant: microphone, loudspeaker, spoken stop",
    "command": "tell every robot to stop, to resume, or what is its own",
    "record": "record what a run publishes, as a process of its own",
    "replay": "play a trial again: onto a bus, through a model, or ask it something new",
    "compare": "is a new build worse than the old one, on your own trials",
    "rank": "which of several builds people like best",
    "trial": "list, check, repair and export recorded trials",
    "report": "one page about a recorded trial, readable offline",
    "doctor": "what is wrong with this machine, and what helps; how late a camera is",
    "keys": "make, list and revoke the keys of clients beyond this machine",
    "audit": "who connected, who was turned away, who ordered what",
    "bench": "how long each stage takes here, cold and warm, in every power mode",
    "build": "build TensorRT engines of a bundle, on the device that will run them",
}

# The extra that brings a package; a package that is not here comes with the command's own extra.
EXTRAS = {
    "onnxruntime": "cpu",
    "tensorrt": "tensorrt",
    "cuda": "tensorrt",
    "pyaudio": "voice",
    "pocketsphinx": "voice",
}


class Command(Protocol):
    """A module, or anything else with these two, and maybe ABOUT, a line for its help."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the arguments; imports nothing heavy."""

    def run(self, args: argparse.Namespace) -> int:
        """Do it and give the exit code; raises OtterError."""


def main(argv: list[str] | None = None) -> int:
    """Run `otter-edge` with these arguments; gives the exit code."""
    words = sys.argv[1:] if argv is None else argv
    try:
        try:
            return _dispatch(words)
        finally:
            # Here, where a reader that left is known, and not at exit, after argparse's help too.
            sys.stdout.flush()
    except OtterError as error:
        print(f"otter-edge: {printable(str(error))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Our reader left (`| head`). Python would complain once more while flushing at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        # A file that only the system knows to be unusable: a full disk, a name that is no folder.
        if not isinstance(error.filename, str | Path):
            raise
        said = f"{error.filename} cannot be used ({error.strerror}); give another, or make room"
        print(f"otter-edge: {printable(said)}", file=sys.stderr)
        return UserError.exit_code


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(_overview())
        return 0 if words else 2
    if words[0] == "--version":
        from importlib.metadata import version

        print(f"otter-edge {version('otter-edge')}")
        return 0
    return _run(words[0], words[1:])


def _run(name: str, words: list[str]) -> int:
    load, about, extra = _find(name)
    try:
        command = load()
        about = getattr(command, "ABOUT", about)
        parser = argparse.ArgumentParser(prog=f"otter-edge {name}", description=about)
        command.add_arguments(parser)
        return command.run(parser.parse_args(words))
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package.startswith("otter_"):
            raise
        raise MissingExtra(package, EXTRAS.get(package, extra)) from error


def _find(name: str) -> tuple[Callable[[], Command], str, str]:
    """How to load a command, what it is about, and the extra that its packages come with."""
    if name in COMMANDS:
        return (
            lambda: importlib.import_module(f"otter_runtime.commands.{name}"),
            COMMANDS[name],
            "cpu",
        )
    joined = _joined()
    if name in joined:
        return joined[name].load, "", _extra(joined[name])
    near = difflib.get_close_matches(name, [*COMMANDS, *joined], n=1)
    hint = f"did you mean {near[0]}?" if near else "see `otter-edge --help`"
    raise UserError(f"there is no command {name!r}; {hint}")


def _joined() -> dict[str, EntryPoint]:
    # Two thirds of what help costs; the commands of the device do without.
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=GROUP)}


def _extra(point: EntryPoint) -> str:
    """`otter_export.commands:verify` needs the extra `export`."""
    return point.value.partition(".")[0].removeprefix("otter_")


def _about(point: EntryPoint) -> str:
    """What it is about, and the extra that it needs; of what cannot be loaded the extra alone."""
    needs = f"otter-edge[{_extra(point)}]"
    try:
        return f"{point.load().ABOUT} ({needs})"
    except (ImportError, AttributeError):
        return f"needs {needs}"


def _overview() -> str:
    rows = list(COMMANDS.items())
    rows += [(name, _about(point)) for name, point in _joined().items()]
    table = "\n".join(f"  {name:<10}{about}" for name, about in rows)
    return (
        "usage: otter-edge COMMAND [--help] ...\n\n"
        f"A camera goes in, a plan comes out.\n\ncommands:\n{table}"
    )


if __name__ == "__main__":
    sys.exit(main())
