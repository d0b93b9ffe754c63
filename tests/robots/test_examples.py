"""The subscribers in C++ and JavaScript, where their tools are: every vector, and a live stream."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "robots" / "examples"
VECTORS = sorted(Path(__file__).with_name("vectors").glob("*.bin"))
HEADERS = "#include <zmq_addon.hpp>\n#include <nlohmann/json.hpp>\n"


@pytest.fixture(scope="session")
def cpp(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command of the C++ subscriber, compiled as its first lines say."""
    if shutil.which("g++") is None:
        pytest.skip("no toolchain: g++ is not there")
    headers = subprocess.run(["g++", "-E", "-xc++", "-"], input=HEADERS.encode(), **QUIET)
    if headers.returncode:
        pytest.skip("no toolchain: libzmq3-dev, cppzmq-dev or nlohmann-json3-dev is not there")
    program = str(tmp_path_factory.mktemp("cpp") / "subscriber")
    source = str(EXAMPLES / "cpp" / "subscriber.cpp")
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["g++", *flags, source, "-o", program, "-lzmq"], check=True)
    return [program]


@pytest.fixture(scope="session")
def js() -> list[str]:
    """The command of the JavaScript subscriber."""
    if shutil.which("node") is None:
        pytest.skip("no toolchain: node is not there")
    if not (EXAMPLES / "js" / "node_modules").is_dir():
        pytest.skip("no toolchain: run `npm ci` in robots/examples/js")
    return ["node", str(EXAMPLES / "js" / "subscriber.mjs")]


QUIET: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": False}


@pytest.fixture(params=["cpp", "js"])
def subscriber(request: pytest.FixtureRequest) -> list[str]:
    command: list[str] = request.getfixturevalue(request.param)
    return command


def test_it_reads_every_vector(subscriber: list[str]) -> None:
    words = [*subscriber, "--vector", *map(str, VECTORS)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == len(VECTORS)
    for path, line in zip(VECTORS, lines, strict=True):
        printed, expected = json.loads(line), json.loads(path.with_suffix(".json").read_text())
        full = "-full" in path.stem
        assert same(printed, expected, full), path.stem
        assert same(printed["body"], expected["body"], full), path.stem


def same(printed: dict[str, Any], expected: dict[str, Any], full: bool) -> bool:
    """Whether both agree where both have a field; older and newer ones have others, too."""
    both = printed.keys() & (expected.keys() - {"body"})
    if full and printed.keys() != expected.keys():
        return False
    return all(alike(printed[name], expected[name], full) for name in both)


def alike(printed: Any, expected: Any, full: bool) -> bool:
    if isinstance(printed, dict) and isinstance(expected, dict):
        return same(printed, expected, full)
    if isinstance(printed, list) and isinstance(expected, list):
        return len(printed) == len(expected) and all(
            alike(one, other, full) for one, other in zip(printed, expected, strict=True)
        )
    return as_text(printed) == as_text(expected)


def as_text(value: Any) -> str:
    """JavaScript prints an integer beyond 2^53 as text."""
    return json.dumps(value, sort_keys=True).replace('"9007199254740993"', "9007199254740993")


def test_it_hears_a_live_stream(subscriber: list[str], publish: Any) -> None:
    with publish("--every-ms", "2") as publisher:
        words = [*subscriber, publisher.stream, "answer", "health"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as listening:
            assert listening.stdout is not None
            heard = [json.loads(listening.stdout.readline()) for _ in range(100)]
            listening.kill()
    assert {one["schema"] for one in heard} == {"Answer", "Health"}
    for topic in ("answer", "health"):
        seqs = [one["seq"] for one in heard if one["topic"] == topic]
        assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    texts = [one["body"]["text"] for one in heard if one["schema"] == "Answer"]
    assert all(text.startswith("tick ") for text in texts)


def test_a_usage_error_is_a_sentence(subscriber: list[str]) -> None:
    done = subprocess.run(subscriber, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: subscriber")


def test_the_lock_names_no_registry() -> None:
    lock = json.loads((EXAMPLES / "js" / "package-lock.json").read_text())
    packages = [package for name, package in lock["packages"].items() if name]
    assert packages
    assert all("resolved" not in package and "integrity" in package for package in packages)
