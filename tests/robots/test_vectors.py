"""What was packed once is read for ever, and every message and field is among it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from otter_robots import vectors

VECTORS = Path(__file__).with_name("vectors")


@pytest.mark.parametrize("path", sorted(VECTORS.glob("*.bin")), ids=lambda path: path.stem)
def test_it_is_read_as_it_was(path: Path) -> None:
    expected = json.loads(path.with_suffix(".json").read_text())
    assert within(expected, json.loads(json.dumps(vectors.read(path.read_bytes()))))


def within(expected: dict[str, Any], found: dict[str, Any]) -> bool:
    """Every field is as it was; fields that came later may be there too."""
    body = {name: found["body"][name] for name in expected["body"]}
    return {name: found[name] for name in expected} | {"body": body} == expected


def test_every_message_and_field_is_among_them() -> None:
    names = [name for name, _ in vectors.missing(VECTORS)]
    assert not names, "run: python -m otter_robots.vectors tests/robots/vectors"
    assert {path.stem for path in VECTORS.glob("*.bin")} == {
        path.stem for path in VECTORS.glob("*.json")
    }


def test_the_command_touches_nothing_that_is_there(tmp_path: Path) -> None:
    vectors.main([str(tmp_path)])
    (tmp_path / "Ack-least.bin").write_bytes(b"frozen")
    fields = json.loads((tmp_path / "Fault-full.json").read_text())
    del fields["body"]["cleared"]
    (tmp_path / "Fault-full.json").write_text(json.dumps(fields))
    nested = json.loads((tmp_path / "Command-full.json").read_text())
    del nested["body"]["stamp"]["ttl_ms"]
    (tmp_path / "Command-full.json").write_text(json.dumps(nested))
    assert {name for name, _ in vectors.missing(tmp_path)} == {"Fault-full-2", "Command-full-2"}
    vectors.main([str(tmp_path)])
    assert (tmp_path / "Ack-least.bin").read_bytes() == b"frozen"
    assert [name for name, _ in vectors.missing(tmp_path)] == []
