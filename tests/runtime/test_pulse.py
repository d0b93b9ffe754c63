"""What the brain promises before a step, and how the front tells a hung brain from a slow one."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from otter_runtime import watch
from otter_runtime.pulse import BEAT_S, FACTOR, QUIET_S, SLACK_S, Pulse
from otter_runtime.watch import LOOK_S, Watch


class Clock:
    now_s = 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", lambda: clock.now_s)
    return clock


def test_a_step_may_take_a_multiple_of_what_it_is_known_to(clock: Clock) -> None:
    said: list[float] = []
    pulse = Pulse(said.append, {"prefill": 10.0, "decode": 1.0}, longest_s=30.0)
    pulse.begin("prefill", 64)
    assert said == [30.0]  # never ran here
    clock.now_s += 0.32
    pulse.begin("prefill", 64)
    assert said[1] == pytest.approx(FACTOR * 0.64)  # 5 ms a token here, 10 ms by the table
    clock.now_s += 1.28
    pulse.begin("prefill", 64)
    assert said[2] == pytest.approx(FACTOR * 1.28)
    clock.now_s += 0.64
    pulse.begin("prefill", 640)
    assert said[3] == 30.0
    pulse.rest()
    assert said[4] == QUIET_S


def test_one_bad_moment_is_forgotten(clock: Clock) -> None:
    said: list[float] = []
    pulse = Pulse(said.append, {}, longest_s=30.0)
    for took_s in [5.0, *[0.01] * 200]:
        pulse.begin("decode", 1)
        clock.now_s += took_s
    assert max(said) == 30.0
    assert said[-1] == pytest.approx(QUIET_S, abs=0.05)


def test_a_promise_is_not_said_anew_for_every_token(clock: Clock) -> None:
    said: list[tuple[float, float]] = []
    pulse = Pulse(lambda s: said.append((clock.now_s, s)), {}, longest_s=30.0)
    cost_s = itertools.cycle([0.010, 0.012, 0.009, 0.015])
    for _ in range(100):  # one never ran here, so the second says how long they may take
        pulse.begin("decode", 1)
        clock.now_s += next(cost_s)
        assert clock.now_s - said[-1][0] < said[-1][1]
    assert len(said) < 10
    assert all(promise <= 0.015 + QUIET_S + SLACK_S for _, promise in said[1:])
    pulse.begin("prefill", 64)
    assert said[-1][1] == 30.0


def test_a_hang_in_a_step_of_half_a_second_is_known_within_two(clock: Clock) -> None:
    said: list[float] = []
    pulse = Pulse(said.append, {"encode": 450.0}, longest_s=10.0)
    for _ in range(2):
        pulse.begin("encode", 1)
        clock.now_s += 0.3
    assert said == [10.0, pytest.approx(0.45 + QUIET_S)]
    assert said[1] + LOOK_S / 2 < 2.0


def test_a_beat_comes_though_nothing_changes(clock: Clock) -> None:
    said: list[float] = []
    pulse = Pulse(said.append, {}, longest_s=30.0)
    for _ in range(100):
        pulse.rest()
        clock.now_s += BEAT_S / 10
    assert said == [QUIET_S] * 10
    assert BEAT_S + 2 * LOOK_S < QUIET_S < 2.0 - 2 * LOOK_S


Spawn = Callable[[str], subprocess.Popen[bytes]]


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    children: list[subprocess.Popen[bytes]] = []

    def begin(code: str) -> subprocess.Popen[bytes]:
        children.append(subprocess.Popen([sys.executable, "-c", code]))
        return children[-1]

    yield begin
    for child in children:
        child.kill()
        child.wait()


def stopped(spawn: Spawn) -> int:
    """The id of a process that was stopped."""
    child = spawn("import time; time.sleep(60)")
    child.send_signal(signal.SIGSTOP)
    while watch.processor_s(child.pid)[0]:
        pass
    return child.pid


def looks(patient: Watch, seconds: float, clock: Clock) -> bool:
    """Look at it every 50 ms of the clock; whether it hung."""
    for _ in range(round(seconds / 0.05)):
        clock.now_s += 0.05
        if patient.hung:
            return True
    return False


def test_a_stopped_process_is_hung_when_its_promise_is_over(clock: Clock, spawn: Spawn) -> None:
    patient = Watch(stopped(spawn), 1.4, 10.0)
    assert not looks(patient, 1.3, clock)
    assert looks(patient, 0.2, clock)
    patient.heard()
    assert not looks(patient, 1.3, clock)
    patient.heard(5.0)
    assert not looks(patient, 4.9, clock)
    assert looks(patient, 0.2, clock)


SOME_WORK = "import time\nwhile time.process_time() < 0.1: pass\n"


@pytest.mark.parametrize("code", ["time.sleep(600)", "while True: pass"])
def test_who_computes_and_does_no_work_is_hung_before_its_promise_is_over(
    clock: Clock, spawn: Spawn, code: str
) -> None:
    child, busy = spawn(SOME_WORK + code), "while" in code
    until_s = time.perf_counter() + 120
    while watch.work(child.pid)[0] != busy or watch.work(child.pid)[1] < 0.05:
        assert time.perf_counter() < until_s
    patient = Watch(child.pid, 9.0, 10.0, computes=True)
    assert not looks(patient, 1.3, clock)
    assert looks(patient, 0.2, clock) is not busy
    child.send_signal(signal.SIGSTOP)
    while watch.work(child.pid)[0]:
        assert time.perf_counter() < until_s
    patient.heard(9.0)
    assert looks(patient, 1.5, clock)
    assert not looks(Watch(child.pid, 9.0, 10.0), 8.9, clock)  # who knows what it waits for
    assert watch.work(1 << 30) == (True, 0.0)


def test_silence_that_nobody_listened_to_does_not_count(clock: Clock, spawn: Spawn) -> None:
    patient = Watch(stopped(spawn), 1.4, 10.0)
    clock.now_s += 3600
    assert not patient.hung
    assert looks(patient, 1.4, clock)


@pytest.mark.parametrize(("share", "after_s"), [(1.0, 1.45), (0.1, 10.05)])
def test_who_is_starved_of_the_processor_is_given_longer(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, share: float, after_s: float
) -> None:
    monkeypatch.setattr(watch, "processor_s", lambda pid: (True, share * clock.now_s))
    patient = Watch(0, 1.4, 10.0)
    begun_s = clock.now_s
    assert looks(patient, 20, clock)
    assert clock.now_s - begun_s == pytest.approx(after_s, abs=0.06)


def test_what_the_kernel_says(spawn: Spawn) -> None:
    runnable, used_s = watch.processor_s(os.getpid())
    assert runnable  # it is running just now
    assert used_s > 0
    child = spawn("while True: pass")
    until_s = time.monotonic() + 30
    while watch.processor_s(child.pid)[1] == 0:
        assert time.monotonic() < until_s
    child.send_signal(signal.SIGSTOP)
    while watch.processor_s(child.pid)[0]:
        assert time.monotonic() < until_s
    assert watch.processor_s(1 << 30) == (False, 0.0)
