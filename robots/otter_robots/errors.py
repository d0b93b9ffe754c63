"""What can go wrong, from the robot's side; the root of the tree that every part shares.

OtterError
├── UserError              exit code 2: what was asked for cannot be done as asked
│   ├── AddressRefused     an endpoint nobody should bind or connect to
│   ├── KeyFileRefused     a key file that is missing, open to others, or no key
│   ├── KeyRefused         a runtime does not know this client's key
│   ├── NobodyListening    no runtime received the request
│   ├── RequestRefused     a runtime received the request and refuses it
│   └── NoAnswer           a runtime received the question and did not answer in time
└── WireError              bytes from a socket that are no message of ours

`otter_runtime.errors` continues it for the device.
"""

from __future__ import annotations

# Why an order was refused, in `Ack.reason`: an honest sender stamps anew after the first two.
STALE, REPLAYED, DENIED = "stale", "replayed", "denied"


class OtterError(Exception):
    """Base of every error that Otter Edge raises on purpose; the message is one sentence."""

    exit_code = 1


class UserError(OtterError):
    """A mistake of the user's: shown as one sentence, exit code 2, no traceback."""

    exit_code = 2


class AddressRefused(UserError):
    """An endpoint beyond this machine without keys, or an ipc folder that others can enter."""


class KeyFileRefused(UserError):
    """A key file that is missing, can be read by others, or holds no key."""


class KeyRefused(UserError):
    """The runtime does not know this client's key, or no longer."""

    def __init__(self, endpoint: str, name: str) -> None:
        super().__init__(
            f"the runtime at {endpoint} refuses the key of {name}, because it was revoked or is "
            "for another runtime; make one there with `otter-edge keys make`"
        )


class NobodyListening(UserError):
    """No runtime received the request within the time a runtime needs to say so."""

    def __init__(self, endpoint: str, waited_s: float) -> None:
        super().__init__(
            f"nobody received the request at {endpoint} within {waited_s:g} s; "
            "start `otter-edge run`, give the --requests endpoint it printed, and --key where it "
            "asks for keys"
        )


class RequestRefused(UserError):
    """The runtime refuses the request; `reason` is the Ack's."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        super().__init__(f"the runtime refused the request: {detail}")

    @property
    def outdated(self) -> bool:
        """Whether only the stamp of an order was wrong: with a fresh one it is welcome."""
        return self.reason in (STALE, REPLAYED)


class NoAnswer(UserError):
    """The runtime received the question, then stayed silent past the timeout."""

    def __init__(self, question_id: str, waited_s: float) -> None:
        super().__init__(
            f"question {question_id} was received but not answered within {waited_s:g} s; "
            "ask with a longer timeout"
        )


class WireError(OtterError):
    """Bytes that are no message of ours; whoever reads a socket counts them and reads on."""
