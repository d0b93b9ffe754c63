"""What happened in a trial, a line each, as a log shows it.

Faults, abstentions, the governor's steps, commands and the run's own life; questions and answers
are no lines, each format has its own place for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from otter_robots.messages import Abstain, Command, Fault, Governor, Status
from otter_runtime.trials.trial import Record

Level = Literal["INFO", "WARN", "ERROR"]


@dataclass(frozen=True)
class Line:
    """One line: what kind of event, how bad, and what it says."""

    kind: str
    level: Level
    text: str


def line(record: Record) -> Line | None:
    """The line of a message; None where it is no event."""
    message = record.message
    if isinstance(message, Fault):
        if message.cleared:
            return Line("fault", "INFO", f"{message.code} is over: {message.detail}")
        return Line("fault", "ERROR", f"{message.code}: {message.detail}")
    if isinstance(message, Abstain):
        return Line("abstain", "WARN", f"{message.reason}: {message.detail}")
    if isinstance(message, Governor):
        text = f"step {message.step} of {message.steps}: {message.reason}"
        return Line("governor", "WARN", text)
    if isinstance(message, Status):
        return Line("status", "INFO", f"{message.state} {message.detail} {message.model}".strip())
    # Where a command was asked for it is on its way; it counts when it was told to the robots.
    if isinstance(message, Command) and not record.topic.startswith("/request/"):
        return Line("command", "WARN", f"{message.name} {message.arguments or ''}".strip())
    return None
