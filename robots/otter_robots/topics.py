"""The one table of topics: what is published, how often, and whether it is journalled first.

Sockets, liveness, the journal and docs/bus.md derive from it; it does not know any socket.

On the wire a topic is `<name>/<major>/`. The closing slash is there because ZeroMQ subscriptions
are prefixes: without it a subscription to `robot1` also receives `robot10`. A recording that is
played back is on `replay/<name>/<major>/`, so that nobody hears it who did not ask for it.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from typing import Literal

from otter_robots.errors import UserError
from otter_robots.messages import (
    Abstain,
    Answer,
    AnswerDelta,
    Cancel,
    Command,
    Exemplar,
    Fault,
    Forget,
    Governor,
    Health,
    History,
    Instruct,
    Message,
    Picture,
    Question,
    Snapshot,
    Status,
)

MAJOR = 1
REPLAY = "replay/"


@dataclass(frozen=True)
class Topic:
    """One row: `rate_hz` None means that it is published when there is something to say."""

    name: str
    messages: tuple[type[Message], ...]
    rate_hz: float | None
    journalled: bool
    about: str
    prefix: str = ""

    @property
    def wire(self) -> bytes:
        """The first part of a published message, and the prefix to subscribe to."""
        return f"{self.prefix}{self.name}/{MAJOR}/".encode()

    @property
    def replayed(self) -> Topic:
        """The same topic of a recording that is played back."""
        return replace(self, prefix=REPLAY)


ANSWER = Topic("answer", (Answer, Abstain), None, True, "plans and answers, or why there is none")
DELTA = Topic("delta", (AnswerDelta,), None, False, "pieces of an answer while it is decoded")
STATUS = Topic("status", (Status,), None, True, "a runtime starts, runs, ends")
HEALTH = Topic("health", (Health,), 1.0, False, "the heartbeat")
FAULT = Topic("fault", (Fault,), None, True, "what is wrong while the runtime carries on")
GOVERNOR = Topic("governor", (Governor,), None, True, "performance is lowered or restored, and why")
COMMAND = Topic("command", (Command,), None, True, "orders to the robots, past the model")

TOPICS: dict[str, Topic] = {
    topic.name: topic for topic in (ANSWER, DELTA, STATUS, HEALTH, FAULT, GOVERNOR, COMMAND)
}

# What a client may do; each includes those before it.
Allow = Literal["observe", "ask", "command"]
ALLOW: tuple[Allow, ...] = ("observe", "ask", "command")

# What the requests socket accepts, and what a client has to be allowed for it.
REQUESTS: dict[type[Message], Allow] = {
    Question: "ask",
    Cancel: "ask",
    Picture: "command",
    Instruct: "command",
    Command: "command",
    Exemplar: "command",
    Forget: "command",
    History: "observe",
    Snapshot: "observe",
}


def find(name: str) -> Topic:
    """The topic of this name; raises UserError with the nearest known name."""
    if name in TOPICS:
        return TOPICS[name]
    near = difflib.get_close_matches(name, TOPICS, n=1)
    hint = f"did you mean {near[0]}" if near else f"the topics are {', '.join(TOPICS)}"
    raise UserError(f"there is no topic {name!r}; {hint}")
