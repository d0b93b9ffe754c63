"""The JSON-lines log: whole lines, rotated, and never in the way."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from otter_robots.envelope import Envelope, seal
from otter_robots.messages import AnswerDelta, Fault, Message
from otter_runtime import log as log_module
from otter_runtime.errors import UserError
from otter_runtime.log import Log, aged


def sealed(message: Message, seq: int) -> Envelope:
    return seal(message, topic="fault", epoch="0000000001-aa", seq=seq)


def tell(log: Log, count: int, begin: int = 1) -> None:
    for seq in range(begin, begin + count):
        message = Fault(code="test", detail="ü" * 40)
        log.hear(sealed(message, seq), message)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_says_what_when_and_where_in_order(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "log.jsonl"
    log = Log(str(path))
    tell(log, 3)
    delta = AnswerDelta(text="a", index=0)
    log.hear(sealed(delta, 4), delta)
    log.close()
    assert [line["seq"] for line in lines(path)] == [1, 2, 3]
    first = lines(path)[0]
    assert (first["type"], first["epoch"], first["topic"]) == ("Fault", "0000000001-aa", "fault")
    assert first["mono_ns"] > 0
    assert first["wall_ns"] > 0
    assert path.stat().st_mode & 0o777 == 0o600


def test_it_goes_on_in_the_file_that_is_there(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    for begin in (1, 3):
        log = Log(str(path))
        tell(log, 2, begin)
        log.close()
    assert [line["seq"] for line in lines(path)] == [1, 2, 3, 4]


@pytest.mark.parametrize("keep", [0, 2])
def test_it_rotates_by_size_and_keeps_so_many(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "log.jsonl"
    log = Log(str(path), mb=0.001, keep=keep)
    tell(log, 60)
    log.close()
    files = sorted(file.name for file in tmp_path.iterdir())
    assert files == sorted(aged(path, number).name for number in range(keep + 1))
    seqs = [line["seq"] for number in range(keep, -1, -1) for line in lines(aged(path, number))]
    assert seqs == list(range(61 - len(seqs), 61))
    assert all(file.stat().st_size < 1600 for file in tmp_path.iterdir())


def test_a_slow_disk_costs_lines_and_not_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "WAITING", 10)
    go, write = threading.Event(), Log._write

    def slowly(self: Log, line: bytes) -> bool:
        assert go.wait(30)
        return write(self, line)

    monkeypatch.setattr(Log, "_write", slowly)
    log = Log(str(tmp_path / "log.jsonl"))
    tell(log, 100)  # returns although nothing is written
    assert log.dropped >= 89
    go.set()
    log.close()
    *said, last = lines(tmp_path / "log.jsonl")
    assert len(said) + log.dropped == 100
    assert (last["type"], last["count"]) == ("Dropped", log.dropped)


def test_a_full_disk_costs_lines_and_no_more(tmp_path: Path) -> None:
    log = Log("/dev/full")
    tell(log, 5)
    log.close()
    assert log.dropped >= 5


def test_a_line_written_in_part_is_ended(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = Log(str(path))
    log.close()
    pipe = os.open(path, os.O_WRONLY | os.O_APPEND)

    class Full:
        """Takes ten bytes, then all."""

        took = 0

        def tell(self) -> int:
            return 0

        def write(self, data: bytes) -> int:
            self.took += 1
            return os.write(pipe, data[:10] if self.took == 1 else data)

        def flush(self) -> None:
            pass

        def close(self) -> None:
            os.close(pipe)

    log._file = Full()  # type: ignore[assignment]
    assert not log._write(b'{"seq": 1, "type": "cut off"}')
    assert log._write(b'{"seq": 2}')
    assert path.read_text().splitlines() == ['{"seq": 1,', '{"seq": 2}']
    log._shut()


def test_a_file_that_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written"):
        Log(str(tmp_path))
