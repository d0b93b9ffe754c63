# ruff: noqa: N818 - an error is named after what is wrong: TooManyImages, not TooManyImagesError.
"""What can go wrong on the device, as one tree; each message is expected, got, remedy.

OtterError
├── UserError                 exit code 2: what was asked for cannot be done as asked
│   ├── MissingExtra          a package of an extra is not installed
│   ├── BundleError           a bundle is missing, foreign, changed or incomplete
│   └── PromptError           a prompt cannot be rendered
│       ├── TooManyImages     more <image> tokens than media
│       └── PromptTooLong     prompt and answer exceed the model's positions
└── EngineError               the engine was used outside its contract
"""

from __future__ import annotations


class OtterError(Exception):
    """Base of every error that Otter Edge raises on purpose."""

    exit_code = 1


class UserError(OtterError):
    """A mistake of the user's: shown as one sentence, exit code 2, no traceback."""

    exit_code = 2


class MissingExtra(UserError):
    """A package that belongs to an extra is not installed; the message is the pip line."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed; run: pip install 'otter-edge[{extra}]'")


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
    """An engine was called outside its contract, e.g. with a wrong shape."""
