"""One topic from stream and history: every message once, in order, then what is lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from otter_robots.envelope import seal
from otter_robots.messages import Fault, Lost
from otter_robots.recovery import OLDEST, Item, Place, Recovery


def item(epoch: str, seq: int, journalled: bool = True) -> Item:
    message = Fault(code="x", detail=f"{epoch} {seq}", journalled=journalled)
    return seal(message, topic="fault", epoch=epoch, seq=seq), message


def gone(epoch: str, seq: int, count: int) -> Item:
    message = Lost(topic="fault", count=count)
    return seal(message, topic="fault", epoch=epoch, seq=seq), message


def said(items: list[Item]) -> list[str]:
    """`a3` for message 3 of epoch a, `-2` for two that are lost."""
    return [
        f"-{message.count}" if isinstance(message, Lost) else f"{envelope.epoch}{envelope.seq}"
        for envelope, message in items
    ]


def test_from_the_first_one_heard() -> None:
    recovery = Recovery("fault", None)
    assert not recovery.behind
    assert said(recovery.hear(item("a", 5))) == ["a5"]
    assert said(recovery.hear(item("a", 6))) == ["a6"]
    assert recovery.hear(item("a", 6)) == []


def test_a_gap_is_read_and_what_was_heard_waits_for_it() -> None:
    recovery = Recovery("fault", Place("a", 1))
    assert said(recovery.read([], False)) == []
    assert recovery.hear(item("a", 4)) == []
    assert recovery.behind
    assert said(recovery.read([item("a", 2)], True)) == ["a2"]
    assert said(recovery.read([item("a", 3), item("a", 4), item("a", 5)], False)) == [
        "a3",
        "a4",
    ]
    assert said(recovery.hear(item("a", 5))) == ["a5"]
    assert recovery.recovered == 2


def test_what_was_never_journalled_is_lost_but_what_was_heard_is_not() -> None:
    recovery = Recovery("fault", Place("a", 1))
    recovery.read([], False)
    recovery.hear(item("a", 4, journalled=False))
    page = [item("a", 2), gone("a", 6, 4), item("a", 7)]
    assert said(recovery.read(page, False)) == ["a2", "-1", "a4"]
    assert recovery.hear(item("a", 7)) == []
    assert said(recovery.read([gone("a", 6, 2), item("a", 7)], False)) == ["-2", "a7"]
    assert recovery.lost == 3


def test_a_new_epoch_waits_for_the_end_of_the_old_one() -> None:
    recovery = Recovery("fault", Place("a", 1))
    recovery.read([], False)
    assert recovery.hear(item("b", 1)) == []
    assert said(recovery.read([item("a", 2), item("b", 1)], False)) == ["a2", "b1"]
    assert recovery.hear(item("a", 3)) == []
    assert recovery.place == Place("b", 1)


def test_from_the_oldest_nothing_is_lost_before_it() -> None:
    recovery = Recovery("fault", OLDEST)
    assert recovery.hear(item("a", 9, journalled=False)) == []
    assert said(recovery.read([], False)) == ["a9"]


@given(st.data())
def test_whatever_the_stream_drops(data: st.DataObject) -> None:
    """A journal of two runs, a stream with holes, pages of any size at any moment."""
    numbers = [("a", seq) for seq in range(1, 9)] + [("b", seq) for seq in range(1, 9)]
    unjournalled = data.draw(st.sets(st.sampled_from(numbers), max_size=4))
    items = [item(*number, journalled=number not in unjournalled) for number in numbers]
    recovery, given_out, published = Recovery("fault", OLDEST), list[Item](), 0

    def page() -> None:
        after = [i for i, n in enumerate(numbers) if n == recovery.place]
        start = after[0] + 1 if after else 0
        kept = [i for i in range(start, published) if numbers[i] not in unjournalled]
        size = data.draw(st.integers(1, 5))
        read: list[Item] = []
        for i in kept[:size]:
            lost = hole(start, i)
            read += [gone(numbers[i][0], numbers[i][1] - 1, lost)] if lost else []
            read.append(items[i])
            start = i + 1
        given_out.extend(recovery.read(read, len(kept) > size))

    def hole(start: int, i: int) -> int:
        # As the archive counts: what is missing at the end of an epoch is not known.
        lost = len([n for n in numbers[start:i] if n[0] == numbers[i][0]])
        return lost if recovery.place != OLDEST or given_out or start else 0

    for one in items:
        published += 1
        if data.draw(st.booleans()):
            given_out.extend(recovery.hear(one))
        while recovery.behind and data.draw(st.booleans()):
            page()
    for _ in numbers:  # as on a silent topic
        page()

    heard = [n for n in said(given_out) if n[0] != "-"]
    assert heard == sorted(set(heard))
    assert {f"{e}{s}" for e, s in numbers if (e, s) not in unjournalled} <= set(heard)
    assert len(heard) + recovery.lost <= len(numbers)
