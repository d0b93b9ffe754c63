"""An order is stamped with the run it is for and its moment on the runtime's clock."""

from __future__ import annotations

import msgspec

from otter_robots.envelope import Envelope, seal
from otter_robots.messages import Ack
from otter_robots.stamper import Stamper


def ack(epoch: str, mono_ns: int) -> Envelope:
    return msgspec.structs.replace(seal(Ack(), topic="reply", epoch=epoch, seq=1), mono_ns=mono_ns)


def test_before_the_runtime_was_heard_the_run_is_unknown() -> None:
    assert Stamper("arm").stamp(50.0, 1000).epoch == ""


def test_it_tells_the_time_of_the_runtime() -> None:
    stamper = Stamper("arm")
    stamper.hear(ack("e1", mono_ns=5_000), now_ns=100)
    stamp = stamper.stamp(50.0, now_ns=170)
    assert (stamp.client, stamp.epoch, stamp.seq, stamp.ttl_ms) == ("arm", "e1", 5_070, 50.0)


def test_it_only_grows_within_a_run() -> None:
    stamper = Stamper("arm")
    stamper.hear(ack("e1", mono_ns=5_000), now_ns=100)
    first = stamper.stamp(50.0, now_ns=200).seq
    stamper.hear(ack("e1", mono_ns=4_000), now_ns=200)  # it came late
    assert [stamper.stamp(50.0, now_ns=200).seq for _ in range(2)] == [first + 1, first + 2]
    stamper.hear(ack("e2", mono_ns=10), now_ns=300)
    assert stamper.stamp(50.0, now_ns=300).seq == 10
