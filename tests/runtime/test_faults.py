"""Faults put into real processes, and what the bus said: hung, killed, no memory, no disk, heat.

`python -m pytest tests/runtime/test_faults.py -s` prints how long each took to be said.
"""

from __future__ import annotations

import json
import resource
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
from tests.runtime.run_process import LIMIT_S, Run, Start, noisy

from otter_robots.messages import Abstain, Answer, Fault, Governor, Health, Message, Status
from otter_runtime.assembly import POCKET
from otter_runtime.bundle import Bundle

PLAN = "What should I do next?"
HUNG_S = 10.0  # the default of brain.hung_s: without a promise nothing is noticed sooner


@pytest.fixture
def watching(start: Start, tmp_path: Path) -> Callable[..., Run]:
    """Begins a run on a long recording and hears its first answer."""

    def begin(*words: str, **environment: str) -> Run:
        clip = noisy(tmp_path / "long.avi", 800)
        run = start("--source", str(clip), "--instruction", PLAN, *words, env=environment)
        run.answer()
        return run

    return begin


def said(run: Run, wanted: Callable[[Message], bool], since_ns: int, what: str) -> float:
    """Seconds from `since_ns` to the moment that the runtime said what is wanted."""
    run.until(wanted)
    seconds = (run.heard[-1][0].mono_ns - since_ns) / 1e9
    print(f"{what}: {seconds:.2f} s")
    return seconds


def fault(code: str, cleared: bool = False) -> Callable[[Message], bool]:
    return lambda message: (
        isinstance(message, Fault) and (message.code, message.cleared) == (code, cleared)
    )


@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL])
def test_a_hung_or_dead_brain_is_said_and_another_answers(
    watching: Callable[..., Run], how: signal.Signals
) -> None:
    run = watching()
    since_ns = time.monotonic_ns()
    run.brain.send_signal(how)
    assert said(run, fault("brain"), since_ns, f"{how.name} is a fault") < HUNG_S
    assert ("SIGKILL" if how is signal.SIGKILL else "hung") in run.of(Fault)[0].detail
    said(run, fault("brain", cleared=True), since_ns, f"{how.name}: a brain is back")
    run.answer()
    health = run.until(lambda message: isinstance(message, Health))
    assert (health.brain_alive, health.brain_restarts) == (True, 1)
    assert run.process.poll() is None


def test_a_brain_without_memory_is_said_and_another_answers(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    random = np.random.default_rng(0)
    for index in range(80):
        side = 3000 if 16 <= index < 24 else 64  # more than what is left takes
        picture = cv2.resize(random.integers(0, 255, (8, 8, 3), np.uint8), (side, side))
        cv2.imwrite(str(folder / f"{index:03}.jpg"), picture)
    config = tmp_path / "run.yaml"
    config.write_text("folder_hz: 8\n")
    run = start("--source", str(folder), "--instruction", PLAN, "--config", str(config))
    run.answer()
    brain = run.brain
    most = brain.memory_info().vms + (8 << 20)
    brain.rlimit(psutil.RLIMIT_AS, (most, most))
    found = run.until(fault("brain"))
    assert found.detail == "the brain ran out of memory"
    run.until(fault("brain", cleared=True))
    run.answer()
    assert run.process.poll() is None


def test_a_full_disk_costs_the_record_and_not_the_answers(watching: Callable[..., Run]) -> None:
    run = watching("--interval", "0.25")
    front = psutil.Process(run.process.pid)
    before = front.rlimit(psutil.RLIMIT_FSIZE)
    front.rlimit(psutil.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    run.until(fault("journal"))
    assert not run.answer().journalled
    assert not run.until(lambda message: isinstance(message, Health)).journal_ok
    front.rlimit(psutil.RLIMIT_FSIZE, before)
    run.until(fault("journal", cleared=True))
    assert run.until(lambda message: isinstance(message, Answer) and message.journalled)


class Heat:
    """The sensors of a device, as files below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name, text in (
            ("sys/class/thermal/thermal_zone0/type", "tj-thermal"),
            ("sys/class/hwmon/hwmon1/oc1_event_cnt", "3"),
            ("var/lib/nvpmodel/status", "pmode:0001"),
            ("etc/nvpmodel.conf", "< POWER_MODEL ID=1 NAME=15W >"),
        ):
            self._write(name, text)
        self.set(50)

    def set(self, temperature_c: float) -> None:
        self._write("sys/class/thermal/thermal_zone0/temp", f"{temperature_c * 1000:.0f}")

    def throttle(self) -> None:
        self._write("sys/class/hwmon/hwmon1/oc1_event_cnt", "4")

    def _write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = path.with_suffix(".new")
        whole.write_text(text + "\n")
        whole.replace(path)  # a sensor is never read half


@pytest.fixture
def heat(tmp_path: Path) -> Heat:
    return Heat(tmp_path / "root")


def governed(tmp_path: Path, heat: Heat) -> Path:
    config = tmp_path / "governed.yaml"
    config.write_text(
        f"""
governor:
  root: {heat.root}
  interval_s: 0.1
  dwell_s: 0.5
  ladder:
    - {{above_c: 80, rate_hz: 1, window_frames: 2, max_new_tokens: 3}}
    - {{above_c: 90, bundle: {POCKET}}}
"""
    )
    return config


def step(number: int) -> Callable[[Message], bool]:
    return lambda message: isinstance(message, Governor) and message.step == number


def test_a_thermal_trip_lowers_what_the_loop_does_and_cooling_restores_it(
    watching: Callable[..., Run], tmp_path: Path, heat: Heat, bundle: Path
) -> None:
    run = watching("--config", str(governed(tmp_path, heat)), "--interval", "0.25")
    full = run.until(lambda message: isinstance(message, Answer) and len(message.frame_ids) == 4)
    assert full.frame_ids == tuple(range(full.frame_ids[0], full.frame_ids[0] + 4))

    heat.set(84.5)
    message = run.until(step(1))
    assert message.journalled
    assert (message.temperature_c, message.zone, message.power_mode) == (84.5, "tj-thermal", "15W")
    assert (message.rate_hz, message.window_frames, message.max_new_tokens) == (1, 2, 3)
    assert "84.5" in run.fault("thermal").detail
    # 4 Hz were seen, 1 Hz is wanted: of 4 frames the first, of 24 tokens three.
    slow = run.until(
        lambda message: (
            isinstance(message, Answer)
            and len(message.frame_ids) == 2
            and message.frame_ids[1] - message.frame_ids[0] == 4
        )
    )
    assert len(slow.text.encode()) <= 3 < len(full.text.encode())

    heat.set(95)
    assert run.until(step(2)).bundle == str(POCKET)
    small, own = Bundle.load(POCKET).model_hash, Bundle.load(bundle).model_hash
    run.until(lambda message: isinstance(message, Answer) and message.model_hash == small)
    assert run.until(lambda message: isinstance(message, Health)).governor_step == 2

    heat.set(40)
    run.until(step(0))
    assert "below 75" in run.fault("thermal", cleared=True).detail
    cool = run.until(
        lambda message: (
            isinstance(message, Answer)
            and message.model_hash == own
            and len(message.frame_ids) == 4
            and message.frame_ids[3] - message.frame_ids[0] == 3
        )
    )
    assert len(cool.text.encode()) > 3
    health = run.until(lambda message: isinstance(message, Health))
    # Bundles were swapped and none died.
    assert (health.governor_step, health.brain_restarts) == (0, 0)
    steps = [message.step for message in run.of(Governor)]
    assert steps == [1, 2, 1, 0]
    assert not [one for one in run.of(Fault) if one.code == "brain"]


def test_a_question_meanwhile_is_told_why_and_throttling_is_a_step(
    watching: Callable[..., Run], tmp_path: Path, heat: Heat
) -> None:
    run = watching("--config", str(governed(tmp_path, heat)))
    heat.throttle()
    message = run.until(step(1))
    assert "throttled itself" in message.reason
    assert message.throttled == 1
    heat.set(95)
    reasons = set()
    until_s = time.monotonic() + LIMIT_S
    while "bundle-swap" not in reasons:
        reply = run.client.ask(PLAN, LIMIT_S)
        reasons |= {reply.reason} if isinstance(reply, Abstain) else set()
        assert time.monotonic() < until_s
    while isinstance(reply, Abstain):
        reply = run.client.ask(PLAN, LIMIT_S)
        assert time.monotonic() < until_s
    assert reply.model_hash == Bundle.load(POCKET).model_hash


@pytest.fixture
def manager(folder: Path) -> Iterator[socket.socket]:
    """The socket of a service manager."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(folder / "notify"))
        end.settimeout(LIMIT_S)
        yield end


def test_a_service_is_ready_watched_served_and_logged(
    watching: Callable[..., Run], folder: Path, tmp_path: Path, manager: socket.socket
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    log = tmp_path / "log.jsonl"
    run = watching(
        *("--health", address, "--log", str(log)),
        NOTIFY_SOCKET=str(folder / "notify"),
        WATCHDOG_USEC="900000",
    )
    words: list[str] = []
    while not {"READY=1", "WATCHDOG=1", "STATUS=random answers"} <= set(words):
        words.append(manager.recv(4096).decode())
    run.until(lambda message: isinstance(message, Health) and message.frames > 0)
    assert page(address, "/healthz")[0] == 200
    until_s = time.monotonic() + LIMIT_S
    while page(address, "/readyz")[0] != 200:  # on a busy machine a picture may be late
        assert time.monotonic() < until_s
    assert 'otter_model_info{model="random"' in page(address, "/metrics")[1]
    assert 'otter_stage_seconds_count{stage="first_token"}' in page(address, "/metrics")[1]

    run.process.send_signal(signal.SIGTERM)
    ended = run.end()
    assert run.process.wait(LIMIT_S) == 0
    while words[-1] != "STOPPING=1":
        words.append(manager.recv(4096).decode())
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    kinds = {line["type"] for line in lines}
    assert kinds >= {"Status", "Health", "Answer"}
    assert kinds.isdisjoint({"AnswerDelta", "Dropped"})
    assert (lines[-1]["type"], lines[-1]["state"]) == ("Status", "ended")
    heard = [(e.topic, e.epoch, e.seq) for e, m in run.heard if isinstance(m, (Answer, Status))]
    logged = [(line["topic"], line["epoch"], line["seq"]) for line in lines]
    assert set(heard) <= set(logged)
    assert ended.journalled


def page(address: str, name: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{address}{name}", timeout=LIMIT_S) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read().decode()


def test_a_step_whose_bundle_is_useless_is_done_without(
    watching: Callable[..., Run], tmp_path: Path, heat: Heat, bundle: Path
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "manifest.json").write_text("{}")
    config = governed(tmp_path, heat)
    config.write_text(config.read_text().replace(str(POCKET), str(broken)))
    run = watching("--config", str(config))
    heat.set(95)
    assert "manifest" in run.fault("bundle").detail
    answer = run.answer()
    assert answer.model_hash == Bundle.load(bundle).model_hash
    assert run.of(Status)[-1].state == "running"
