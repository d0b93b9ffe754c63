"""How long a brain that dies or hangs is missed, beside how long a run takes to start.

    python benchmarks/recovery.py                                   the bundled pocket model
    python benchmarks/recovery.py --bundle PATH --rounds 2 --json   a larger one
    python benchmarks/recovery.py --random otter-mpt1b              full size, random int8 weights

`otter-edge run` looks at the demo's clips, and a client asks without end. The cold start is from
the start of the command to the first answer; then the brain's process is killed, and stopped, in
turns, and it is timed until the bus says so (a Fault), until a new brain is there (the Fault is
cleared), and until a question is answered. An answer counts from its first token, because random
weights speak for as long as they are let. The bus has to say so within 2 s; pocket has to be back
within 10 s, any other bundle within its own cold start and 2 s. Prints a table, then one JSON line;
ends with 1 where it was not so.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from outcome import Report, tell
from processes import brain_of
from random_bundle import CACHE, random_bundle
from soak_day import clip_files

from otter_robots import endpoints
from otter_robots.client import Client
from otter_robots.errors import OtterError
from otter_robots.messages import Answer, Fault
from otter_robots.topics import FAULT
from otter_runtime.assembly import POCKET
from otter_runtime.bundle import Bundle
from otter_runtime.stage import Run, running

QUESTION = "Can you see the red box?"
HOWS = (signal.SIGKILL, signal.SIGSTOP)
SAID_S, POCKET_S, MORE_S = 2.0, 10.0, 2.0
PATIENCE_S, REPLAYS = 300.0, 100


class Patient:
    """One run, and a client that asks until there is an answer."""

    def __init__(self, run: Run, bus: Client, deadline_ms: int) -> None:
        self.run, self.bus = run, bus
        self._deadline_ms = deadline_ms

    def answered_s(self) -> float:
        """When the next answer begins, by the monotonic clock, however often it has to ask."""
        return self.run.wait_for("answer", self._answer_s, PATIENCE_S)

    def struck(self, how: signal.Signals) -> dict[str, Any]:
        """Kill or stop the brain; seconds until it is said, replaced, and answers."""
        pid = brain_of(self.run.pid)
        if pid is None:
            raise OtterError("the run has no brain; it is being started again")
        began_s = time.monotonic()
        os.kill(pid, how)
        fault_s = self._fault_s(cleared=False)
        back_s = self._fault_s(cleared=True)
        return {
            "how": how.name,
            "fault_s": round(fault_s - began_s, 3),
            "back_s": round(back_s - began_s, 3),
            "answer_s": round(self.answered_s() - began_s, 3),
        }

    def _answer_s(self) -> float | None:
        """When an answer began, if there is one: when it ended, less what followed its begin."""
        envelope, reply = self.bus.ask_sealed(QUESTION, PATIENCE_S, deadline_ms=self._deadline_ms)
        if not isinstance(reply, Answer):
            return None
        spoke_ms = reply.timing["total_ms"] - reply.timing["first_token_ms"]
        return envelope.mono_ns / 1e9 - spoke_ms / 1e3

    def _fault_s(self, cleared: bool) -> float:
        """When the bus said that the brain is gone, or `cleared`, that another one is there."""

        def heard_s() -> float | None:
            envelope, message = self.bus.receive(1.0) or (None, None)
            if envelope is None or not isinstance(message, Fault):
                return None
            told = (message.code, message.cleared) == ("brain", cleared)
            return envelope.mono_ns / 1e9 if told else None

        return self.run.wait_for("fault about the brain", heard_s, PATIENCE_S)


def measured(options: argparse.Namespace) -> Report:
    """The report."""
    bundle = options.bundle
    if options.random:
        bundle = random_bundle(options.random, options.precision, options.cache)
    name = Bundle.load(bundle, verify=False).manifest.name
    films = islice(cycle(map(str, clip_files())), REPLAYS)
    with tempfile.TemporaryDirectory(prefix="otter-") as place:
        folder = Path(place)
        config = folder / "run.yaml"
        config.write_text("oldest_ms: 600000\n")  # slow answers are answers, here
        words = ["--source", *films, "--bundle", str(bundle), "--config", str(config)]
        ends = endpoints.stream_endpoint(folder), endpoints.requests_endpoint(folder), "recovery"
        began_s = time.monotonic()
        with running(words, folder) as run, Client(*ends) as bus:
            bus.subscribe([FAULT])
            patient = Patient(run, bus, options.deadline_ms)
            cold_s = patient.answered_s() - began_s
            rounds = [patient.struck(how) for how in islice(cycle(HOWS), options.rounds)]
    most_s = POCKET_S if bundle == POCKET else cold_s + MORE_S
    return {
        "bundle": name,
        "cold_start_s": round(cold_s, 3),
        "limit_s": round(most_s, 3),
        "worst_s": max(one["answer_s"] for one in rounds),
        "held": all(one["fault_s"] <= SAID_S and one["answer_s"] <= most_s for one in rounds),
        "rounds": rounds,
    }


def table(told: Report) -> str:
    """The report for people."""
    head = f"{told['bundle']}: cold start {told['cold_start_s']} s, limit {told['limit_s']} s"
    rows = [f"{'':10}{'said, s':>10}{'a new brain, s':>16}{'an answer, s':>14}"]
    for one in told["rounds"]:
        rows.append(
            f"{one['how']:10}{one['fault_s']:10.2f}{one['back_s']:16.2f}{one['answer_s']:14.2f}"
        )
    return "\n".join([head, *rows])


def main(arguments: list[str] | None = None) -> int:
    """Measure, print; 1 where it took too long."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--bundle", type=Path, default=POCKET, help="default: the bundled pocket model")
    add("--random", metavar="NAME", help="instead: random weights, e.g. of otter-mpt1b")
    add("--precision", default="int8", help="of random weights (default int8)")
    add("--cache", type=Path, default=CACHE, help="where random bundles are kept")
    add("--rounds", type=int, default=4, help="deaths, by SIGKILL and SIGSTOP in turns")
    add("--deadline-ms", type=int, default=10_000, help="an answer is cut off then")
    add("--json", action="store_true", help="the JSON line alone")
    options = parser.parse_args(arguments)
    return tell(
        lambda: measured(options), table, lambda told: bool(told["held"]), json_alone=options.json
    )


if __name__ == "__main__":
    sys.exit(main())
