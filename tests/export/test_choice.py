"""Which part takes which precision: how a choice is written, and what it refuses."""

from __future__ import annotations

import pytest

from otter_export.precision import RECIPES, TARGETS, Choice
from otter_runtime.errors import UserError


def test_a_name_alone_is_for_every_part() -> None:
    for name in set(RECIPES) - {"int4"}:
        assert set(Choice.parse(name).parts().values()) == {name}
        assert str(Choice.parse(name)) == name


def test_a_part_takes_its_follower_along() -> None:
    choice = Choice.parse("vision=fp32,decoder=int8")
    assert choice == Choice("fp32", "fp32", "int8", "int8")
    assert Choice.parse("vision=fp32,resampler=int8").resampler == "int8"
    assert Choice.parse("head=fp32", Choice.all("int8")) == Choice(head="fp32")
    assert Choice.parse("fp32,head=int8") == Choice("fp32", "fp32", "fp32", "int8")
    assert Choice.parse("") == Choice()


def test_a_jetson_takes_fp16_for_what_sees_and_int8_for_what_speaks() -> None:
    jetson = TARGETS["jetson"]
    assert str(jetson) == "vision=fp16,resampler=fp16,decoder=int8,head=int8"
    assert Choice.parse("decoder=fp16", jetson) == Choice("fp16", "fp16", "fp16", "fp16")
    assert Choice.parse("int4", jetson) == Choice("fp16", "fp16", "int4", "int8")
    assert str(Choice.parse("int4", TARGETS["cpu"])) == "int4"
    assert str(TARGETS["cpu"]) == "int8"


def test_a_choice_is_read_back() -> None:
    choice = Choice.parse("vision=fp32,head=fp32")
    assert Choice.parse(str(choice)) == choice


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("int9", "did you mean int8"),
        ("vison=int8", "did you mean vision"),
        ("vision=", "is no precision"),
    ],
)
def test_what_is_unknown_is_told_with_the_nearest(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Choice.parse(text)
