"""Syphus piece by piece: replies are read, each rule passes and fails, cents add up."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from otter_runtime.errors import UserError
from otter_tuning.syphus.assembly import Accepted, assemble
from otter_tuning.syphus.calls import Journal, Price, Reply, Request
from otter_tuning.syphus.filters import RULES, Context, names_in, reason_against, right_language
from otter_tuning.syphus.pairs import Pair, Unreadable, read_pairs, write_pairs
from otter_tuning.syphus.queries import READERS, Query, read_queries
from otter_tuning.syphus.task import PROMPTS, read_task, write_task

PAIR = {"question": "Where is the cup?", "answer": "On the table."}
WANTED = [Pair("Where is the cup?", "On the table.")]


@pytest.mark.parametrize(
    "reply",
    [
        json.dumps({"pairs": [PAIR]}),
        json.dumps([PAIR]),
        json.dumps(PAIR),
        "Sure! Here you are:\n```json\n" + json.dumps({"pairs": [PAIR]}) + "\n```\nAnything else?",
        '{"pairs": [{"question": "Where is the cup?", "answer": "On the table.",},]}',
        '[{"Question": " Where is the cup? ", "Answer": "On the table."}]',
        write_pairs(WANTED),
    ],
)
def test_replies_are_read(reply: str) -> None:
    assert read_pairs(reply) == WANTED


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ("I can't help with that.", "no JSON"),
        ('{"pairs": [{"question": "Where', "broken JSON"),
        ('{"pairs": 3}', "no list"),
        ('{"pairs": [{"question": "Where?"}]}', "no question with an answer"),
        ('{"pairs": [["Where?", "Here."]]}', "no question with an answer"),
        ("[" * 100_000, "broken JSON"),
    ],
)
def test_replies_that_cannot_be_read(reply: str, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        read_pairs(reply)


CASES = {
    "empty": (("Where?", "H"), ("Where?", "Here")),
    "too-long": (("Where?", "x" * 3000), ("Where is my red cup now?", "It is on the table there.")),
    "refusal": (
        ("Where is it?", "As an AI I cannot see."),
        ("Where?", "Ask the AI team in room 2."),
    ),
    "wrong-language": (
        ("¿Dónde está la taza roja?", "Está encima de la mesa."),
        ("Where is my red cup now?", "It is on the table."),
    ),
    "duplicate": (("Where is the CUP", "There."), ("Where is the plate?", "There.")),
    "meta": (("What does the caption say?", "A cup."), ("What does the sign say?", "Stop.")),
    "timestamp": (("What happens at 0:12?", "He sits."), ("What happens at last?", "He sits.")),
    "name": (("What does Anna want?", "Tea."), ("What does the woman want?", "Tea.")),
    "no-first-person": (("Where is the pan?", "There."), ("Where is my pan?", "There.")),
}


def test_every_rule_has_a_case() -> None:
    assert set(CASES) == set(RULES)


@pytest.mark.parametrize("rule", CASES)
def test_a_rule_tells_what_breaks_it(rule: str) -> None:
    bad, good = (Pair(*texts) for texts in CASES[rule])
    context = Context(names=("Anna",), rules=(rule,), seen={"where is the cup"})
    assert RULES[rule](bad, context)
    assert not RULES[rule](good, context)
    assert reason_against(bad, context) == rule
    if rule != "duplicate":
        assert reason_against(good, Context(names=("Anna",), rules=(rule,))) is None


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Where is the red cup that I left here?", "en"),
        ("¿Dónde está la taza roja que dejé aquí?", "es"),
        ("Wo ist die rote Tasse, die ich hier ließ?", "de"),
        ("Où est la tasse rouge que j'ai laissée ?", "fr"),
        ("我放在这里的红杯子在哪里\uff1f", "zh"),
        ("ここに置いた赤いカップはどこですか。", "ja"),
        ("여기에 둔 빨간 컵은 어디에 있나요?", "ko"),
        ("أين الكوب الأحمر الذي تركته هنا؟", "ar"),
    ],
)
def test_languages_are_told_apart(text: str, language: str) -> None:
    for other in ("en", "zh", "ja", "es", "de", "fr", "ko", "ar"):
        assert right_language(text, other) == (other == language)


def test_names_in_captions() -> None:
    assert names_in(["Rick hands Anna a cup. She thanks Rick.", "Later I see TV."]) == (
        "Anna",
        "Rick",
    )


def test_cents() -> None:
    assert Price(Decimal("0.15"), Decimal("0.60")).of(1_000_000, 500_000) == Decimal("0.45")
    assert Price(Decimal(1), Decimal(0)).of(5_000, 0) == Decimal("0.01")  # half a cent up
    # The paper's appendix A: 859.7 M + 147.1 M tokens at 2 cents a thousand, $20,134.9 of rounded.
    whole = Price(Decimal(20), Decimal(20)).of(859_700_000, 147_100_000)
    assert abs(whole - Decimal("20134.9")) < 2


def test_a_call_is_known_by_all_that_was_asked(tmp_path: Path) -> None:
    request = Request("m", (("user", "x"),))
    assert request.key != Request("m", (("user", "x"),), seed=1).key
    assert request.key == Request("m", (("user", "x"),)).key
    with Journal(tmp_path / "a.sqlite") as journal:
        assert journal.reply(request) is None
        journal.keep(request, Reply("hello", 10, 2))
        journal.keep(request, Reply("again", 1, 1))
    with Journal(tmp_path / "a.sqlite") as journal:
        assert journal.reply(request) == Reply("hello", 10, 2)
        assert journal.totals()["generate"]["calls"] == 1
    (tmp_path / "b.sqlite").write_text("no base at all, but a text that is long enough")
    with pytest.raises(UserError, match="is no journal of calls"):
        Journal(tmp_path / "b.sqlite")


def test_every_task_is_whole(tmp_path: Path) -> None:
    names = {path.stem.upper() for path in PROMPTS.glob("*.json")}
    assert names == set(READERS)
    for name in names:
        task = read_task(name)
        assert task.examples
        request = task.request(Query("x", "what is seen"), "m")
        assert [role for role, _ in request.messages] == [
            "system",
            *["user", "assistant"] * len(task.examples),
            "user",
        ]
        for example in task.examples:
            context = Context(rules=tuple(task.rules))
            for pair in read_pairs(example.reply()):
                assert reason_against(pair, context) is None, (name, pair)
        write_task(tmp_path / "x.json", task)
        assert read_task(str(tmp_path / "x.json")) == task
    (tmp_path / "x.json").write_text(
        '{"name": "X", "annotations": "OWN", "system": "s", "rules": ["meat"]}'
    )
    with pytest.raises(UserError, match="there is no rule 'meat'"):
        read_task(str(tmp_path / "x.json"))
    with pytest.raises(UserError, match="there is no task 'XY'"):
        read_task("XY")


VIST = {
    "images": [{"id": "5", "album_id": "9", "title": "a", "tags": "t"}],
    "albums": [{"id": "9", "title": "Sea", "description": "d"}],
    "annotations": [[{"photo_flickr_id": "5", "text": "We swam."}]],
}
ANNOTATIONS: dict[str, tuple[object, str, Query]] = {
    "DC": (
        {"v_a": {"timestamps": [[0.4, 9.6]], "sentences": ["He runs."]}},
        "x.json",
        Query("v_a", 'timestamps: [[0, 10]]\nsentences: ["He runs."]', frames_of="DC_IMG_v_a_"),
    ),
    "TVC": (
        {
            "vid_name": "s01e02_seg01_clip_00",
            "descs": [{"desc": "Then Leo sits."}, {"desc": "He eats."}],
        },
        "x.jsonl",
        Query(
            "s01e02_seg01_clip_00",
            "1. Then Leo sits.\n2. He eats.",
            frames_of="TVC_IMG_bbt_s01e02_seg01_clip_00_",
            names=("Leo",),
        ),
    ),
    "SD": (
        [{"img_id": "77", "sentences": ["a car left", "a man came"]}],
        "x.json",
        Query("77", "a car left\na man came", ("SD_IMG_00077_1", "SD_IMG_00077_2")),
    ),
    "VST": (
        VIST,
        "x.json",
        Query(
            "9",
            'title: Sea\ndescription: d\n\nimage: a\ntags: t\nannotations: ["We swam."]',
            ("VST_IMG_5",),
        ),
    ),
    "E4D": (
        {
            "u": {
                "clips": [
                    {
                        "narrations": [
                            {"time": 1.2, "text": "C cuts", "object_description": ["a knife"]},
                            {"time": 1.4, "text": "C stops", "object_description": ["a pan"]},
                        ]
                    }
                ]
            }
        },
        "x.json",
        Query(
            "u_clip000000",
            "timestamp: 1\nobjects: a knife\ndescription: C cuts\ndescription: C stops",
            frames_of="E4D_IMG_u_",
        ),
    ),
    "OWN": (
        {"id": "k1", "captions": [{"at": 0.2, "text": "a tap"}], "images": ["OWN_IMG_k1_0000"]},
        "x.jsonl",
        Query("k1", "second 0: a tap", ("OWN_IMG_k1_0000",)),
    ),
}


@pytest.mark.parametrize("task", ANNOTATIONS)
def test_queries_of_annotations(task: str, tmp_path: Path) -> None:
    value, name, wanted = ANNOTATIONS[task]
    (tmp_path / name).write_text(json.dumps(value))
    assert read_queries(task, tmp_path / name) == [wanted]
    (tmp_path / name).write_text('{"v": 3}')
    with pytest.raises(UserError, match=r"is not as .* annotations are"):
        read_queries(task, tmp_path / name)


def test_queries_of_folders(tmp_path: Path) -> None:
    names = {"categories": [{"id": 1, "name": "dog"}]}
    box = {"image_id": 4, "category_id": 1, "bbox": [1.2, 2, 3, 4.8]}
    (tmp_path / "pairs.json").write_text("[[4, 5]]")
    told = {
        "annotations": [{"image_id": 4, "caption": "A dog. "}, {"image_id": 5, "caption": "A cat."}]
    }
    (tmp_path / "captions_train2017.json").write_text(json.dumps(told))
    (tmp_path / "instances_train2017.json").write_text(json.dumps({**names, "annotations": [box]}))
    (query,) = read_queries("CGD", tmp_path)
    assert query.images == ("CGD_IMG_000000000004", "CGD_IMG_000000000005")
    assert 'captions: ["A dog."]\nboxes (x, y, width, height): dog [1, 2, 3, 5]' in query.text
    described = {"scene0001_00": {"description": [[n, f"thing {n}"] for n in range(80)]}}
    (tmp_path / "scan_info.json").write_text(json.dumps(described))
    (tmp_path / "candidates.txt").write_text("\n".join(f"do {n} | person {n}" for n in range(20)))
    (query,) = read_queries("SN", tmp_path)
    assert query.text.count("thing ") == 50
    assert query.text.count("person ") == 9
    assert read_queries("SN", tmp_path) == [query]
    with pytest.raises(UserError, match="cannot be read"):
        read_queries("SN", tmp_path / "nothing")


def test_pairs_become_mimicit() -> None:
    query = Query("v_a", "", frames_of="DC_IMG_v_a_")
    still = Query("5", "", ("SD_IMG_00005_1", "SD_IMG_00005_2"))
    one, two = Pair("Where?", "Here."), Pair("Who?", "He.")
    accepted = [
        Accepted(query, {"en": [one, two], "es": [one, two]}),
        Accepted(still, {"en": [one]}),
    ]
    images = ["DC_IMG_v_b_0000", "DC_IMG_v_a_0001", "DC_IMG_v_a_0000", "DC_IMG_v_"]
    made = assemble("DC", accepted, images)
    assert list(made.data) == [
        "DC_INS_00001",
        "DC_INS_00002",
        "DC_INS_00001_es",
        "DC_INS_00002_es",
        "DC_INS_00003",
    ]
    assert made["DC_INS_00002_es"].rel_ins_ids == ("DC_INS_00001_es",)
    assert made["DC_INS_00001"].image_ids == ("DC_IMG_v_a_0000", "DC_IMG_v_a_0001")
    assert made["DC_INS_00003"].image_ids == still.images
