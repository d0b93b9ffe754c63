"""The blocking client across a restart of its runtime."""

from __future__ import annotations

from typing import Any

import pytest

from otter_robots.client import Client
from otter_robots.errors import NobodyListening
from otter_robots.messages import Answer
from otter_robots.topics import ANSWER, HEALTH

PATIENCE_S = 20.0


def test_it_asks_and_hears_again_after_a_restart(publish: Any) -> None:
    with publish() as first:
        bus = Client(first.stream, first.requests)
        bus.messages([ANSWER, HEALTH], since={"answer": None})
        before = bus.receive(PATIENCE_S)
        assert before is not None
        assert isinstance(bus.ask("before", PATIENCE_S), Answer)
        first.kill()
    with pytest.raises(NobodyListening):
        bus.ask("meanwhile", PATIENCE_S)
    with bus, publish():
        assert isinstance(bus.ask("after", PATIENCE_S), Answer)
        texts: list[str] = []
        while "after" not in texts:
            item = bus.receive(PATIENCE_S)
            assert item is not None
            envelope, message = item
            texts += [message.text] if isinstance(message, Answer) else []
        assert texts.count("before") == texts.count("after") == 1
        assert "meanwhile" not in texts
        assert envelope.epoch != before[0].epoch
        assert bus.lost == {"answer": 0}
        assert bus.alive()
