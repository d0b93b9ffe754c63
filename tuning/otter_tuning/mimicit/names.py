"""Ids of MIMIC-IT: how each set spells them, and what two spellings of one picture share.

Turn ids and zero padding vary between releases and converters, so an id is taken apart by the set's
own rule and compared by what it means: set, source, frame.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

IMAGE, PAIR = "IMG_", "INS_"


@dataclass(frozen=True)
class Dataset:
    """One set: what its image ids begin with, and how a frame is numbered (None: a still)."""

    name: str
    prefix: str
    digits: int | None = None

    def image(self, source: str, frame: int | None = None) -> str:
        """The id of a still, or of frame `frame` of a video, as the releases spell it."""
        body = source if frame is None else f"{source}_{frame:0{self.digits or 0}d}"
        return f"{self.prefix}{body}"


# As in the releases (LA's converter and docs wrote LA_IMG_); OWN is for footage of one's own.
DATASETS = {
    one.name: one
    for one in (
        Dataset("LA", "LA_00_IMG_"),
        Dataset("SD", "SD_IMG_"),
        Dataset("CGD", "CGD_IMG_"),
        Dataset("SN", "SN_IMG_", 6),
        Dataset("VST", "VST_IMG_"),
        Dataset("DC", "DC_IMG_", 4),
        Dataset("TVC", "TVC_IMG_", 5),
        Dataset("E4D", "E4D_IMG_", 8),
        Dataset("OWN", "OWN_IMG_", 4),
    )
}
# A clip of TVQA: its show, which The Big Bang Theory's go without, season, episode, segment, clip.
_CLIP = re.compile(r"(?:(?P<show>[a-z]+)_)?(?P<clip>s\d+e\d+_seg\d+_clip_\d+)")
_SHOW = "bbt"
_NUMBER = re.compile(r"\d+")
# LLaVA's converter numbered the turns of a conversation at the end of the picture's id.
_TURN = re.compile(r"^(\d{12})_\d+$")


def dataset_of(name: str) -> str:
    """`LA` of `LA_00_IMG_000000033471`: the letters that an id begins with."""
    return re.match(r"[A-Za-z0-9]*", name.partition("_")[0]).group()  # type: ignore[union-attr]


def meaning(name: str) -> tuple[str, ...]:
    """What an image id says, without its spelling: equal for two spellings of one picture.

    Known drifts: `LA_IMG_` for `LA_00_IMG_`, COCO ids of 12 or 16 digits, a turn behind an LA
    picture's id, TVC clips that are named twice or without their show.
    """
    head, _, body = name.partition(IMAGE)
    kind = dataset_of(head)
    if kind == "LA":
        body = _TURN.sub(r"\1", body)
    if kind == "TVC" and (clips := list(_CLIP.finditer(body))):
        show = next((clip["show"] for clip in clips if clip["show"]), _SHOW)
        rest = body[clips[-1].end() :]
        # `s04e13_seg01_clip_00_bbt_s04e13_seg01`: the show stands behind the clip it belongs to.
        behind = re.match(r"_([a-z]+)_s\d+e\d+_seg\d+", rest)
        rest = rest[behind.end() :] if behind else rest
        body = f"{behind[1] if behind else show}_{clips[-1]['clip']}{rest}"
    return kind, *(
        _NUMBER.sub(lambda digits: str(int(digits[0])), part) for part in body.split("_")
    )


def frame_of(name: str) -> tuple[str, int] | None:
    """A frame's clip and number, of the sets that number frames; None for other ids."""
    known = DATASETS.get(dataset_of(name))
    clip, _, number = name.rpartition("_")
    if known is None or known.digits is None or not number.isdecimal():
        return None
    return clip, int(number)
