"""The errors of this package: each one sentence with what was expected, what came, what helps."""


class ModelError(Exception):
    """Base class; `exit_code` is what a command line should end with (2 = the user's mistake)."""

    exit_code = 2


class ConfigError(ModelError):
    """config.json describes something that is not one of the Otter architectures."""


class CheckpointError(ModelError):
    """A checkpoint folder lacks a file or a tensor, or a tensor has the wrong shape."""


class PromptError(ModelError):
    """A prompt that the network cannot be asked."""


class TooManyImages(PromptError):
    """A prompt has more `<image>` tokens than media.

    The reference lets the surplus tokens attend all media uniformly, which no training ever saw.
    """

    def __init__(self, images: int, media: int, row: int = 0) -> None:
        super().__init__(
            f"prompt {row} has {images} <image> tokens but only {media} media were given; "
            "pass one medium (a picture or one video) for every <image>, or remove the surplus ones"
        )
        self.images = images
        self.media = media


class PromptTooLong(PromptError):
    """The tokens do not fit the positions that the decoder has."""

    def __init__(self, length: int, limit: int) -> None:
        super().__init__(
            f"the prompt and answer take {length} tokens, but the decoder has {limit} positions; "
            "shorten the prompt or ask for fewer new tokens"
        )


class TooManyFrames(PromptError):
    """A video has more frames than the resampler has frame embeddings."""

    def __init__(self, frames: int, limit: int) -> None:
        super().__init__(
            f"a medium has {frames} frames, but the resampler has embeddings for {limit}; "
            "sample fewer frames"
        )
