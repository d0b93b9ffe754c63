"""What `--calibration` may name: an .npz of samples, a folder of clips, a MIMIC-IT file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from otter_export.clips import read_clips
from otter_export.mimicit import read_mimicit
from otter_export.sample import Sample, read_samples
from otter_export.settings import Settings
from otter_export.shown import Encoder, Shown
from otter_model.checkpoint import Checkpoint
from otter_runtime.errors import UserError


@dataclass(frozen=True)
class Calibration:
    """Where samples come from; `limit` of them at most, but an .npz is taken whole."""

    path: Path
    prompts: Sequence[str] = ()
    images: Path | None = None
    limit: int = 64

    def read(self, checkpoint: Checkpoint, settings: Settings) -> list[Sample]:
        """The samples, as the bundle will see them. Raises UserError."""
        if not self.path.exists():
            raise UserError(f"there is no {self.path}; give samples to --calibration")
        self._require_used()
        if self.kind == "samples":
            preprocess = settings.preprocess(checkpoint.config)
            return read_samples(self.path, preprocess, checkpoint.config.tokens.image)
        encode = _encoder(checkpoint, settings)
        return [encode(shown) for shown in self._shown(settings)]

    @property
    def kind(self) -> str:
        """`clips`, `mimic-it` or `samples`."""
        if self.path.is_dir():
            return "clips"
        return "mimic-it" if self.path.suffix == ".json" else "samples"

    def describe(self) -> dict[str, Any]:
        """For the manifest: what it was and its name."""
        return {"kind": self.kind, "name": self.path.resolve().name}

    def _require_used(self) -> None:
        """What is given beside the path belongs to its kind."""
        for option, given, kind in (
            ("--prompt", self.prompts, "clips"),
            ("--images", self.images, "mimic-it"),
        ):
            if given and self.kind != kind:
                raise UserError(
                    f"{option} is for {kind}, but {self.path} is {self.kind}; leave it out"
                )

    def _shown(self, settings: Settings) -> Iterable[Shown]:
        if self.kind == "mimic-it":
            return read_mimicit(self.path, self.images, self.limit)
        window = settings.window
        return read_clips(self.path, self.prompts, window.frames, window.rate_hz, self.limit)


def _encoder(checkpoint: Checkpoint, settings: Settings) -> Encoder:
    from tokenizers import Tokenizer

    if checkpoint.tokenizer is None:
        raise UserError(
            "prompts are texts, but there is no tokenizer to read them; give --tokenizer FILE"
        )
    config = checkpoint.config
    return Encoder(
        Tokenizer.from_file(str(checkpoint.tokenizer)),
        settings.preprocess(config),
        settings.prompt,
        config.tokens,
        settings.window.frames,
        config.decoder.max_positions,
    )
