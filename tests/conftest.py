"""What several folders' tests share: bundles of tiny random Otters, and a real publisher.

The bundles are exported once per session; the publisher runs in a process of its own.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

import pytest

TinyBundle = Callable[..., Path]
LIMIT_S = 120.0
PUBLISHER = Path(__file__).parent / "runtime" / "bus_process.py"


class Publisher(NamedTuple):
    """A running `bus_process.py` and where it listens."""

    process: subprocess.Popen[str]
    stream: str
    requests: str
    journal: Path

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


Publish = Callable[..., AbstractContextManager[Publisher]]


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> TinyBundle:
    """`tiny_bundle("mpt", "int8")` is the folder of that bundle; it is not to be changed."""
    from otter_export.bundle_writer import Export
    from otter_export.sample import random_samples
    from otter_export.settings import Settings
    from otter_model.tiny import tiny_checkpoint

    made: dict[tuple[str, str], Path] = {}

    def make(family: str = "mpt", precision: str = "fp32") -> Path:
        if (family, precision) not in made:
            checkpoint = tiny_checkpoint(family, max_frames=4)  # type: ignore[arg-type]
            samples = random_samples(checkpoint.config, 4, frames=3, length=20)
            out = tmp_path_factory.mktemp("bundles") / f"{family}-{precision}"
            settings = Settings(name=family, capacities=(8, 16, 32))
            export = Export(checkpoint, precision, samples, settings, threads=1)
            made[family, precision] = export.write(out).path
        return made[family, precision]

    return make


@pytest.fixture
def publish(tmp_path: Path) -> Publish:
    """`with publish("--every-ms", "1") as publisher:`, always at the same two addresses.

    With `endpoint`, both sockets are bound there, e.g. at `tcp://127.0.0.1:*`.
    """

    @contextlib.contextmanager
    def start(*options: str, endpoint: str = "") -> Iterator[Publisher]:
        journal = tmp_path / "journal.db"
        stream, requests = endpoint or f"ipc://{tmp_path}/s", endpoint or f"ipc://{tmp_path}/r"
        words = [stream, requests, str(journal), *options]
        process = subprocess.Popen(
            [sys.executable, str(PUBLISHER), *words], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        bound = json.loads(process.stdout.readline())
        publisher = Publisher(process, bound["stream"], bound["requests"], journal)
        try:
            yield publisher
        finally:
            publisher.kill()

    return start


@pytest.fixture(scope="session")
def field_trial() -> Iterator[Path]:
    """A trial recorded by a real run of the packaged clips, which was asked a question meanwhile.

    It is not to be changed.
    """
    import otter_runtime
    from otter_robots import endpoints
    from otter_robots.client import Client
    from otter_robots.messages import Answer
    from otter_runtime.trials.shelf import trials_in

    clips = Path(otter_runtime.__file__).parent / "pocket" / "clip"
    # Not tmp_path: a socket's path may have 107 bytes.
    with tempfile.TemporaryDirectory(prefix="otter-") as name:
        folder = Path(name)
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "otter_runtime", "run", "--fast", "--threads", "1"),
                *("--source", str(clips / "episode-2.avi"), str(clips / "episode-1.avi")),
                *("--instruction", "What should I do next?", "--wait", "60"),
                *("--folder", name, "--record", str(folder / "trials")),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        stream, requests = endpoints.stream_endpoint(folder), endpoints.requests_endpoint(folder)
        with Client(stream, requests, "test") as client:
            heard = client.messages(timeout_s=LIMIT_S)
            assert any(isinstance(message, Answer) for _, message in heard)
            client.ask("Where is the red box?", LIMIT_S)
        assert process.wait(LIMIT_S) == 0
        (trial,) = trials_in(folder / "trials")
        yield trial
