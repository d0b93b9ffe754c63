"""Calibration examples from a folder of clips and the prompts beside them.

A clip is a video file, an image, or a subfolder of images. `prompts.json`, `.yaml` or `.txt` in the
folder says what is asked: texts, or `question`, `answer` and `clip` (a file's name) where an answer
is known or a question belongs to one clip; in the .txt a question per line, its answer after a tab.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from otter_export.shown import Shown, spread
from otter_runtime.errors import UserError
from otter_runtime.frame import Pixels
from otter_runtime.sources import IMAGES, Spec

PROMPTS = ("prompts.json", "prompts.yaml", "prompts.yml", "prompts.txt")
VIDEOS = frozenset({".avi", ".mkv", ".mov", ".mp4", ".m4v", ".mpg", ".ogv", ".webm"})


class Prompt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing to ask; of every clip unless one is named."""

    question: str
    answer: str | None = None
    clip: str | None = None


def read_clips(
    folder: Path, prompts: Sequence[str], frames: int, rate_hz: float, limit: int
) -> Iterator[Shown]:
    """At most `limit` windows of `frames` at `rate_hz`, spread over the folder's clips.

    `prompts` given here come instead of the folder's own. Raises UserError where there are no
    clips or nothing to ask.
    """
    clips = [path for path in sorted(folder.iterdir()) if _is_clip(path)]
    if not clips:
        raise UserError(f"{folder} holds no videos or images; give a folder of clips")
    asked = [Prompt(text) for text in prompts] or _read_prompts(folder)
    _require_known(asked, {clip.name for clip in clips}, folder)
    for at, clip in enumerate(clips):
        own = [prompt for prompt in asked if prompt.clip in (None, clip.name)]
        count = (at + 1) * limit // len(clips) - at * limit // len(clips)
        for turn, window in enumerate(_windows(clip, frames, rate_hz, count if own else 0)):
            prompt = own[(at + turn) % len(own)]
            yield Shown(window, prompt.question, prompt.answer)


def _require_known(prompts: Sequence[Prompt], clips: set[str], folder: Path) -> None:
    for prompt in prompts:
        if prompt.clip is not None and prompt.clip not in clips:
            raise UserError(
                f"a prompt is of the clip {prompt.clip!r}, which {folder} has not "
                f"(it has {min(clips)} and {len(clips) - 1} more); correct its name"
            )


def _is_clip(path: Path) -> bool:
    kinds = IMAGES | VIDEOS
    if path.is_dir():
        return any(file.suffix.lower() in IMAGES for file in path.iterdir())
    return path.suffix.lower() in kinds


def _windows(clip: Path, frames: int, rate_hz: float, count: int) -> Iterator[list[Pixels]]:
    """`count` windows at most, spread over the clip; a short clip is one window."""
    if count == 0:
        return
    reader = Spec(str(clip), rate_hz).open()
    try:
        step = max(1, round(reader.rate_hz / rate_hz))
        pictures = [p for i, p in enumerate(reader.pictures()) if i % step == 0 and p is not None]
    finally:
        reader.close()
    starts = max(1, len(pictures) - frames + 1)
    for start in spread(starts, min(count, starts)):
        yield pictures[start : start + frames]


def _read_prompts(folder: Path) -> list[Prompt]:
    file = next((folder / name for name in PROMPTS if (folder / name).is_file()), None)
    if file is None:
        raise UserError(
            f"{folder} has none of {', '.join(PROMPTS)}, so there is nothing to ask; "
            "write one, or give --prompt TEXT"
        )
    try:
        prompts = _parsed(file)
    except (ValueError, msgspec.MsgspecError) as error:
        raise UserError(
            f"{file} should be a list of questions, or of objects with question, answer and clip, "
            f"but is not ({error}); correct it"
        ) from None
    if not prompts:
        raise UserError(f"{file} asks nothing; write a question into it, or give --prompt TEXT")
    return prompts


def _parsed(file: Path) -> list[Prompt]:
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".txt":
        lines = (line.strip().partition("\t") for line in text.splitlines() if line.strip())
        return [Prompt(question, answer or None) for question, _, answer in lines]
    decode = msgspec.json.decode if file.suffix == ".json" else msgspec.yaml.decode
    items = decode(text.encode(), type=list[str | Prompt])
    return [Prompt(item) if isinstance(item, str) else item for item in items]
