"""Annotations of each source, as the text that a language model is asked about.

A query knows which pictures its pairs will be about, by the ids that `otter-edge mimicit convert`
gives them: exactly, or by what they begin with (a video's frames).
"""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from otter_runtime.errors import UserError
from otter_tuning.mimicit.names import DATASETS
from otter_tuning.syphus.filters import names_in

SCENE_DESCRIPTIONS, SCENE_PEOPLE = 50, 9


@dataclass(frozen=True)
class Query:
    """One thing to ask about: its id in the source, the text, its pictures.

    `images` are picture ids; `frames_of` is what a video's frame ids begin with. `names` are people
    in it who may not be named.
    """

    id: str
    text: str
    images: tuple[str, ...] = ()
    frames_of: str | None = None
    names: tuple[str, ...] = ()


Read = Callable[[Path], Iterator[Query]]


def dense_captions(path: Path) -> Iterator[Query]:
    """ActivityNet Captions: {video: {timestamps: [[start, end]], sentences}}; seconds, rounded."""
    for video, told in _json(path).items():
        spans = [[round(float(at)) for at in span] for span in told["timestamps"]]
        text = f"timestamps: {spans}\nsentences: {json.dumps(told['sentences'])}"
        yield Query(video, text, frames_of=f"{DATASETS['DC'].prefix}{video}_")


def tv_captions(path: Path) -> Iterator[Query]:
    """TVC: a line for each clip, {vid_name, descs: [{desc}]}; numbered, names known."""
    for line in _lines(path):
        sentences = [one["desc"] for one in line["descs"]]
        text = "\n".join(f"{number}. {one}" for number, one in enumerate(sentences, 1))
        clip = line["vid_name"]
        # The Big Bang Theory's clips go without their show.
        name = f"bbt_{clip}" if re.match(r"s\d+e\d+", clip) else clip
        yield Query(
            clip, text, frames_of=f"{DATASETS['TVC'].prefix}{name}_", names=names_in(sentences)
        )


def spot_the_difference(path: Path) -> Iterator[Query]:
    """Spot-the-Diff: [{img_id, sentences}]."""
    for one in _json(path):
        name = str(one["img_id"]).zfill(5)
        images = tuple(DATASETS["SD"].image(f"{name}_{place}") for place in (1, 2))
        yield Query(str(one["img_id"]), "\n".join(one["sentences"]), images)


def coco_general_difference(path: Path) -> Iterator[Query]:
    """A folder: pairs.json [[id, id]], captions_train2017.json, instances_train2017.json."""
    captions: dict[int, list[str]] = defaultdict(list)
    boxes: dict[int, list[str]] = defaultdict(list)
    for one in _json(path / "captions_train2017.json")["annotations"]:
        captions[one["image_id"]].append(one["caption"].strip())
    instances = _json(path / "instances_train2017.json")
    kinds = {kind["id"]: kind["name"] for kind in instances["categories"]}
    for one in instances["annotations"]:
        box = [round(float(side)) for side in one["bbox"]]
        boxes[one["image_id"]].append(f"{kinds[one['category_id']]} {box}")
    for pair in _json(path / "pairs.json"):
        parts = [
            f"image {place}\ncaptions: {json.dumps(captions[name])}\nboxes (x, y, width, height): "
            f"{'; '.join(boxes[name])}"
            for place, name in enumerate(map(int, pair), 1)
        ]
        images = tuple(DATASETS["CGD"].image(f"{int(name):012d}") for name in pair)
        yield Query("_".join(map(str, pair)), "\n\n".join(parts), images)


def visual_storytelling(path: Path) -> Iterator[Query]:
    """VIST's train.story-in-sequence.json: an album at a time, its title, tags, annotations."""
    told = _json(path)
    written: dict[str, list[str]] = defaultdict(list)
    for story in told["annotations"]:
        for one in story:
            written[str(one["photo_flickr_id"])].append(one["text"])
    albums: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for image in told["images"]:
        albums[str(image["album_id"])].append(image)
    for album in told["albums"]:
        images = albums[str(album["id"])]
        text = [f"title: {album['title']}", f"description: {album['description']}"]
        for image in images:
            text += ["", f"image: {image['title']}", f"tags: {image['tags']}"]
            text.append(f"annotations: {json.dumps(written[str(image['id'])])}")
        names = tuple(DATASETS["VST"].image(str(image["id"])) for image in images)
        yield Query(str(album["id"]), "\n".join(text), names)


def scene_navigation(path: Path) -> Iterator[Query]:
    """ScanNet: a folder with scan_info.json {scene: {description: [[object, text]]}}.

    And candidates.txt, a line for each `activity | person`. At most 50 descriptions, shuffled by
    the scene's name, and nine people who might be there.
    """
    lines = (path / "candidates.txt").read_text(encoding="utf-8").splitlines()
    people = [line.strip() for line in lines if line.strip()]
    for scene, told in _json(path / "scan_info.json").items():
        chance = random.Random(scene)
        texts = [str(one[1]) for one in told["description"]]
        chance.shuffle(texts)
        chosen = chance.sample(people, min(SCENE_PEOPLE, len(people)))
        text = "\n".join(texts[:SCENE_DESCRIPTIONS]) + "\n\npeople and what they are about to do:\n"
        yield Query(scene, text + "\n".join(chosen), frames_of=f"{DATASETS['SN'].prefix}{scene}_")


def ego4d(path: Path) -> Iterator[Query]:
    """Ego4D: {video: {clips: [{narrations: [{time, text, object_description}]}]}}, clip by clip.

    Narrations of one second share its line of objects; each clip counts its seconds for itself.
    """
    for video, told in _json(path).items():
        for number, clip in enumerate(told["clips"]):
            text, last = [], None
            for one in clip.get("narrations", []):
                second = round(float(one.get("time", 0)))
                if second != last:
                    objects = "; ".join(one.get("object_description", []))
                    text += [f"timestamp: {second}", f"objects: {objects}"]
                text.append(f"description: {one['text']}")
                last = second
            yield Query(
                f"{video}_clip{number:06d}",
                "\n".join(text),
                frames_of=f"{DATASETS['E4D'].prefix}{video}_",
            )


def own_scene(path: Path) -> Iterator[Query]:
    """Your own: a line for each clip, {id, captions: [{at, text}], images or frames_of}."""
    for line in _lines(path):
        text = "\n".join(
            f"second {round(float(one['at']))}: {one['text']}" for one in line["captions"]
        )
        yield Query(
            str(line["id"]),
            text,
            tuple(line.get("images", ())),
            line.get("frames_of"),
        )


READERS: dict[str, Read] = {
    "DC": dense_captions,
    "TVC": tv_captions,
    "SD": spot_the_difference,
    "CGD": coco_general_difference,
    "VST": visual_storytelling,
    "SN": scene_navigation,
    "E4D": ego4d,
    "OWN": own_scene,
}


def read_queries(task: str, path: Path) -> list[Query]:
    """Every query of `task`'s annotations at `path`; UserError where they are no such thing."""
    try:
        return list(READERS[task](path))
    except OSError as error:
        raise UserError(
            f"{error.filename} cannot be read ({error.strerror}); give {task}'s annotations"
        ) from error
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise UserError(
            f"{path} is not as {task}'s annotations are ({type(error).__name__}: {error}); "
            f"{(READERS[task].__doc__ or '').splitlines()[0]}"
        ) from error


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _lines(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.strip():
                yield json.loads(line)
