"""The seven sources of MIMIC-IT as they lie on disk when downloaded, and what to make of them.

Each source is a function from its own layout to tasks with the releases' ids. What is missing (half
of a pair, a picture that a list names) is told by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from otter_runtime.errors import UserError
from otter_tuning.mimicit.json_file import JsonFile
from otter_tuning.mimicit.names import DATASETS
from otter_tuning.mimicit.picture import Still, Task, Video

PICTURES = (".jpg", ".jpeg", ".png")
VIDEOS = (".mp4", ".mkv", ".webm", ".avi", ".mov")
VIDEO_HZ = 1  # DC and E4D, as released
TVC_FRAMES = 16  # of a clip's, at 3 fps


@dataclass
class Work:
    """Tasks of one source, and what its lists name that is not there."""

    tasks: list[Task]
    missing: list[str] = field(default_factory=list)


T = TypeVar("T")
Read = Callable[[Path, Path | None], Work]


def llava(root: Path, wanted: Path | None) -> Work:
    """COCO 2017 below `root` (train2017/000000033471.jpg), for the pictures LLaVA-Instruct names.

    `wanted` is a file of LLaVA-Instruct, or one that maps picture ids to anything; without it all.
    """
    files = _pictures(_below(root, "train2017"))
    dataset = DATASETS["LA"]
    if wanted is None:
        return Work([Still(dataset.image(stem), str(path)) for stem, path in files.items()])
    names = dict.fromkeys(_coco_ids(JsonFile.read(wanted).value, wanted))
    found = [Still(dataset.image(name), str(files[name])) for name in names if name in files]
    return Work(list(found), [name for name in names if name not in files])


def spot_the_difference(root: Path, wanted: Path | None) -> Work:
    """Pairs `<id>.png` and `<id>_2.png` (or .jpg, .jpeg): SD_IMG_<5 digits>_1 and _2."""
    files, dataset = _pictures(root), DATASETS["SD"]
    work = Work([])
    for name in sorted({stem.partition("_")[0] for stem in files}):
        pair = (files.get(name), files.get(f"{name}_2"))
        if None in pair:
            work.missing.append(name if pair[0] is None else f"{name}_2")
            continue
        for place, path in enumerate(pair, 1):
            work.tasks.append(Still(dataset.image(f"{name.zfill(5)}_{place}"), str(path)))
    return work


def coco_general_difference(root: Path, wanted: Path | None) -> Work:
    """COCO 2017's training pictures: CGD_IMG_<12 digits>."""
    files = _pictures(_below(root, "train2017"))
    return Work([Still(DATASETS["CGD"].image(stem), str(path)) for stem, path in files.items()])


def scene_navigation(root: Path, wanted: Path | None) -> Work:
    """ScanNet: <scene>/color/<frame>.jpg, of each scene's first scan (`scene0000_00`)."""
    work = Work([])
    for scene in sorted(path for path in _folder(root).iterdir() if path.name.endswith("_00")):
        frames = _pictures(scene / "color") if (scene / "color").is_dir() else {}
        if not frames:
            work.missing.append(f"{scene.name}/color")
        for stem, path in frames.items():
            work.tasks.append(Still(DATASETS["SN"].image(f"{scene.name}_color_{stem}"), str(path)))
    return work


def visual_storytelling(root: Path, wanted: Path | None) -> Work:
    """VIST: <id>.jpg for each picture of `train.story-in-sequence.json`, in `root` or beside it.

    What is not in the folder is fetched from Flickr, as far as its address has not expired.
    """
    listed = wanted or root / "train.story-in-sequence.json"
    images, files = JsonFile.read(listed).value, _pictures(root)
    work = Work([])
    try:
        for image in images["images"]:
            path = files.get(str(image["id"])) or image.get("url_o") or image.get("url_m")
            if path is None:
                work.missing.append(str(image["id"]))
            else:
                work.tasks.append(Still(DATASETS["VST"].image(str(image["id"])), str(path)))
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f'{listed} should have "images" with an id and url_o or url_m') from error
    return work


def dense_captions(root: Path, wanted: Path | None) -> Work:
    """ActivityNet: v_<id>.mp4, a frame a second: DC_IMG_v_<id>_<4 digits>."""
    return _videos(root, "DC")


def tv_captions(root: Path, wanted: Path | None) -> Work:
    """TVQA's frames at 3 fps: <show>_frames/<clip>/<frame>.jpg, 16 of a clip, evenly.

    A clip whose name lacks its show (The Big Bang Theory's) gets it.
    """
    work = Work([])
    for folder in sorted(_folder(root).glob("*_frames")):
        show = folder.name.removesuffix("_frames")
        for clip in sorted(path for path in folder.iterdir() if path.is_dir()):
            frames = sorted(_pictures(clip).items(), key=lambda one: (len(one[0]), one[0]))
            if not frames:
                work.missing.append(f"{folder.name}/{clip.name}")
            name = clip.name if clip.name.startswith(show) else f"{show}_{clip.name}"
            for stem, path in evenly(frames, TVC_FRAMES):
                work.tasks.append(Still(DATASETS["TVC"].image(f"{name}_{stem}"), str(path)))
    return work


def ego4d(root: Path, wanted: Path | None) -> Work:
    """Ego4D: <uuid>.mp4, a frame a second: E4D_IMG_<uuid>_<8 digits>."""
    return _videos(root, "E4D")


def own_scene(root: Path, wanted: Path | None) -> Work:
    """Your own footage: <clip>.mp4, a frame a second, OWN_IMG_<clip>_<4 digits>; stills by name."""
    work = _videos(root, "OWN")
    stills = [Still(DATASETS["OWN"].image(stem), str(p)) for stem, p in _pictures(root).items()]
    return Work([*work.tasks, *stills], [] if stills else work.missing)


# By the names of the sets; LA, SD, CGD, SN, VIST, DC, TVC and E4D of the paper.
SOURCES: dict[str, Read] = {
    "LA": llava,
    "SD": spot_the_difference,
    "CGD": coco_general_difference,
    "SN": scene_navigation,
    "VST": visual_storytelling,
    "DC": dense_captions,
    "TVC": tv_captions,
    "E4D": ego4d,
    "OWN": own_scene,
}


def evenly(items: list[T], most: int) -> list[T]:
    """At most `most` of `items`, from the middles of as many equal parts."""
    if len(items) <= most:
        return items
    return [items[(2 * place + 1) * len(items) // (2 * most)] for place in range(most)]


def _videos(root: Path, name: str) -> Work:
    dataset = DATASETS[name]
    files = sorted(path for path in _folder(root).iterdir() if path.suffix.lower() in VIDEOS)
    assert dataset.digits is not None
    return Work(
        [Video(dataset.image(p.stem), str(p), VIDEO_HZ, dataset.digits) for p in files],
        [] if files else [f"{root}/*.mp4"],
    )


def _pictures(folder: Path) -> dict[str, Path]:
    """Picture files by their stem, in order."""
    files = sorted(path for path in _folder(folder).iterdir() if path.suffix.lower() in PICTURES)
    return {path.stem: path for path in files}


def _below(root: Path, name: str) -> Path:
    return root / name if (root / name).is_dir() else root


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise UserError(f"{path} is no folder; give the one that the source was unpacked into")
    return path


def _coco_ids(value: Any, path: Path) -> Iterator[str]:
    """Twelve digits each, of LLaVA-Instruct's records or of a map's keys."""
    names: Iterable[Any] = value
    if isinstance(value, list):
        names = (one.get("image", "") if isinstance(one, dict) else one for one in value)
    for name in names:
        # Prefixes (LACONV_00_INS_) and turn numbers are not COCO's.
        digits = [part for part in str(name).partition(".")[0].split("_") if part.isdecimal()]
        whole = [part for part in digits if len(part) == 12]
        if not whole:
            raise UserError(f"{path}: {name!r} names no COCO picture of twelve digits")
        yield whole[-1]
