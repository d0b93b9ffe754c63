"""What can go wrong on the device, as one tree; each message is expected, got, remedy.

The root comes from `otter_robots.errors`, so that a robot and the device share it.

OtterError
├── UserError                 exit code 2: what was asked for cannot be done as asked
│   ├── AddressRefused        an endpoint beyond this machine without keys
│   ├── PortInUse             somebody already listens at an endpoint
│   ├── MissingExtra          a package of an extra is not installed
│   ├── BundleError           a bundle is missing, foreign, changed or incomplete
│   ├── TrialError            a recorded trial is missing, foreign or damaged
│   └── PromptError           a prompt cannot be rendered
│       ├── TooManyImages     more <image> tokens than media
│       └── PromptTooLong     prompt and answer exceed the model's positions
├── DamagedPicture            a pushed frame is not the picture it is said to be
├── CameraLost                a live source stopped giving pictures
├── SoundLost                 a microphone or a loudspeaker stopped working
├── JournalError              the journal cannot be read or written
├── RecordError               a recording cannot be written
└── EngineError               the engine was used outside its contract, or gives no numbers
"""

from __future__ import annotations

from otter_robots.errors import AddressRefused as AddressRefused
from otter_robots.errors import OtterError as OtterError
from otter_robots.errors import UserError as UserError


class MissingExtra(UserError):
    """A package that belongs to an extra is not installed; the message is the pip line."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed; run: pip install 'otter-edge[{extra}]'")


class DamagedPicture(OtterError):
    """A frame that was pushed cannot be used; the sentence goes back to its sender."""


class CameraLost(OtterError):
    """A live source stopped giving pictures, or gives others than it began with."""


class SoundLost(OtterError):
    """A microphone or a loudspeaker that was there stopped working."""


class PortInUse(UserError):
    """Somebody already listens at this endpoint."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(
            f"{endpoint} is in use, probably by another `otter-edge run`; "
            "end that one or choose another endpoint"
        )


class JournalError(OtterError):
    """The journal cannot be read or written; publishing goes on, marked as not journalled."""


class RecordError(OtterError):
    """A recording cannot be written; answers go on without it."""


class TrialError(UserError):
    """A recorded trial is missing, foreign or damaged; the message names the file."""


class BundleError(UserError):
    """A bundle is missing, foreign, changed or incomplete; the message names the file."""


class PromptError(UserError):
    """A prompt cannot be rendered for this bundle."""


class TooManyImages(PromptError):
    """A prompt shows more `<image>` tokens than there are media to see."""

    def __init__(self, images: int, media: int) -> None:
        super().__init__(
            f"the prompt has {images} <image> tokens but only {media} media are given; "
            "give every <image> its frames or leave the token out"
        )


class PromptTooLong(PromptError):
    """A prompt and its answer do not fit into the positions the model has."""

    def __init__(self, tokens: int, limit: int) -> None:
        super().__init__(
            f"the prompt and answer need {tokens} tokens but the model holds {limit}; "
            "shorten the history or the examples"
        )


class EngineError(OtterError):
    """An engine was called outside its contract, e.g. with a wrong shape, or gives no numbers."""
