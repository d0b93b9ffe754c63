"""The upload's state machine: what is sent when, retried, refused and given up."""

from __future__ import annotations

import math
from typing import Any

import pytest

common: Any = pytest.importorskip("pymavlink.dialects.v20.common")

from otter_robots.adapters.mavlink.config import Item  # noqa: E402
from otter_robots.adapters.mavlink.mission import RETRIES, TIMEOUT_S, Upload  # noqa: E402

ITEMS = (Item(command="NAV_TAKEOFF", altitude_m=10), Item(latitude_deg=47.3977418))


def request(seq: int, kind: str = "mission_request_int") -> Any:
    return getattr(common, f"MAVLink_{kind}_message")(1, 191, seq)


def ack(result: int, mission_type: int = 0) -> Any:
    return common.MAVLink_mission_ack_message(1, 191, result, mission_type)


def kinds(messages: list[Any]) -> list[str]:
    return [message.get_type() for message in messages]


@pytest.mark.parametrize("kind", ["mission_request_int", "mission_request"])
def test_items_are_sent_as_they_are_asked_for(kind: str) -> None:
    upload = Upload(ITEMS, 1, 1)
    (count,) = upload.due(0)
    assert (count.get_type(), count.count, count.target_system) == ("MISSION_COUNT", 2, 1)
    first, again, second = (upload.hear(request(seq, kind), 0.1)[0] for seq in (0, 0, 1))
    assert (first.seq, again.seq, second.seq) == (0, 0, 1)
    assert (first.command, first.current, first.z) == (common.MAV_CMD_NAV_TAKEOFF, 1, 10)
    assert (second.x, second.frame) == (473977418, common.MAV_FRAME_GLOBAL_RELATIVE_ALT)
    assert math.isnan(second.param4)
    assert upload.hear(ack(common.MAV_MISSION_ACCEPTED), 0.2) == []
    assert upload.outcome == "accepted"
    assert upload.due(99) == []


def test_what_is_not_answered_is_sent_again_and_then_given_up() -> None:
    upload = Upload(ITEMS, 1, 1)
    sent = [kinds(upload.due(moment * TIMEOUT_S / 2)) for moment in range(20)]
    assert sum(map(len, sent)) == 1 + RETRIES
    assert upload.outcome == "the vehicle is silent after 0 items"

    upload = Upload(ITEMS, 1, 1)
    upload.due(0)
    upload.hear(request(0), 1)
    assert kinds(upload.due(1)) == []
    assert kinds(upload.due(1 + TIMEOUT_S)) == ["MISSION_ITEM_INT"]


def test_a_vehicle_that_asks_for_the_same_for_ever_is_given_up() -> None:
    upload = Upload(ITEMS, 1, 1)
    upload.due(0)
    answers = [upload.hear(request(0), 0.1) for _ in range(50)]
    assert sum(map(len, answers)) == RETRIES
    upload.due(100)
    assert upload.outcome is not None


def test_refusals_have_their_reason() -> None:
    upload = Upload(ITEMS, 1, 1)
    upload.hear(ack(common.MAV_MISSION_NO_SPACE), 0)
    assert upload.outcome == "refused: MAV_MISSION_NO_SPACE"

    upload = Upload(ITEMS, 1, 1)
    assert kinds(upload.hear(request(2), 0)) == ["MISSION_ACK"]
    assert upload.outcome == "the vehicle asked for item 2 of 2"


def test_an_acknowledgement_of_something_else_is_not_ours() -> None:
    upload = Upload(ITEMS, 1, 1)
    upload.hear(request(0), 0)
    upload.hear(ack(common.MAV_MISSION_ACCEPTED), 0)
    upload.hear(ack(common.MAV_MISSION_ERROR, mission_type=1), 0)
    assert upload.outcome is None


def test_a_cancelled_upload_tells_the_vehicle_once() -> None:
    upload = Upload(ITEMS, 1, 1)
    upload.due(0)
    (told,) = upload.cancel("stopped")
    assert told.type == common.MAV_MISSION_OPERATION_CANCELLED
    assert (upload.cancel("again"), upload.due(99), upload.outcome) == ([], [], "stopped")
