"""Who gets onto the bus over tcp, between real processes: keys, permissions, revocation, strangers.

The server is `bus_process.py` with keys, at loopback; what is refused is refused by the handshake
or with a sentence, and the audit has it.
"""

from __future__ import annotations

import asyncio
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import zmq

from otter_robots import aio
from otter_robots.client import Client
from otter_robots.envelope import MAX_MESSAGE_BYTES, Envelope, seal
from otter_robots.errors import (
    AddressRefused,
    KeyRefused,
    NoAnswer,
    NobodyListening,
    RequestRefused,
)
from otter_robots.keys import Key, read
from otter_robots.messages import (
    DENIED,
    Answer,
    Command,
    Health,
    Message,
    Question,
)
from otter_robots.topics import ANSWER, COMMAND, HEALTH
from otter_runtime import audit
from otter_runtime.admission import Admission
from otter_runtime.bus import Bus, Request
from otter_runtime.doorman import Doorman
from otter_runtime.journal import Journal
from otter_runtime.keyring import Keyring, make_folder

Publish = Callable[..., AbstractContextManager[Any]]
SERVER = Path(__file__).with_name("bus_process.py")
TCP = "tcp://127.0.0.1:*"


@pytest.fixture
def ring(tmp_path: Path) -> Keyring:
    ring = make_folder(tmp_path / "keys")
    for name, allow in [("eye", "observe"), ("tablet", "ask"), ("arm", "command")]:
        ring.make(name, allow)  # type: ignore[arg-type]
    return ring


@pytest.fixture
def guarded(publish: Publish, ring: Keyring) -> Callable[..., AbstractContextManager[Any]]:
    """`with guarded("--every-ms", "5") as running:`, a publisher that asks for these keys."""
    return lambda *options: publish("--keys", str(ring.folder), *options, endpoint=TCP)


def client(running: Any, ring: Keyring, name: str) -> Client:
    return Client(running.stream, running.requests, key=ring.folder / f"{name}.client")


def hear(bus: Client, count: int) -> list[tuple[Envelope, Message]]:
    """The next messages; fails after twenty seconds of silence."""
    heard = []
    for _ in range(count):
        one = bus.receive(20)
        assert one is not None, "the publisher is silent"
        heard.append(one)
    return heard


def answered(bus: Client) -> None:
    """Asks until it is answered, for twenty seconds."""
    until_s = time.monotonic() + 20
    while True:
        try:
            assert isinstance(bus.ask("and now?", timeout_s=5), Answer)
            return
        except (NobodyListening, NoAnswer):
            assert time.monotonic() < until_s


def ask_for_ever(bus: Client) -> None:
    while True:
        bus.ask("still?", timeout_s=5)


def audited(running: Any, what: str) -> list[audit.Entry]:
    return [entry for entry in audit.read(running.journal.parent) if entry.what == what]


def other_key(ring: Keyring, tmp_path: Path, name: str = "stranger") -> Key:
    """A pair that the runtime does not know; it does know where the runtime is."""
    strange = make_folder(tmp_path / "strange")
    key = read(strange.make(name, "command"))
    return Key(name=key.name, public=key.public, secret=key.secret, server=ring.server().public)


def handed(key: Key, path: Path) -> Path:
    import msgspec

    path.touch(mode=0o600)
    path.write_bytes(msgspec.json.encode(key))
    return path


# Who is let in, and for what.


def test_each_may_what_it_is_allowed_and_no_more(guarded: Publish, ring: Keyring) -> None:
    with guarded() as running:
        eye, tablet, arm = (client(running, ring, name) for name in ("eye", "tablet", "arm"))
        with eye, tablet, arm:
            eye.subscribe([ANSWER, COMMAND])
            hear(eye, 1)
            assert set(eye.snapshot()) >= {"answer"}
            for refused in (
                lambda: eye.ask("may I?"),
                lambda: eye.cancel("q"),
                lambda: eye.stop(),
                lambda: tablet.stop(),
                lambda: tablet.instruct("dance", 1.0),
            ):
                with pytest.raises(RequestRefused, match="needs a key that may") as refusal:
                    refused()
                assert refusal.value.reason == DENIED
            assert isinstance(tablet.ask("where?", timeout_s=20), Answer)
            assert isinstance(arm.ask("where?", timeout_s=20), Answer)
            arm.command("wave", {"times": 2})
            heard: list[Command] = []
            while not heard:
                heard = [m for _, m in hear(eye, 1) if isinstance(m, Command)]
            assert (heard[0].name, heard[0].stamp.client) == ("wave", "arm")
        assert {entry.client for entry in audited(running, "connected")} == {
            "eye", "tablet", "arm"
        }  # fmt: skip
        assert {entry.client for entry in audited(running, "refused")} == {"eye", "tablet"}
        (order,) = audited(running, "order")
        assert (order.client, order.detail.split("  ")[0]) == ("arm", "wave times=2.0")
        assert order.key == read(ring.folder / "arm.client").public
        assert order.wall_ns > 0
        assert order.mono_ns > 0


def test_the_first_order_beyond_a_permission_is_in_the_audit(
    guarded: Publish, ring: Keyring
) -> None:
    with guarded() as running:
        with client(running, ring, "tablet") as tablet, pytest.raises(RequestRefused):
            tablet.stop()
        (entry,) = audited(running, "refused")
        assert (entry.client, entry.detail.split(":")[0]) == ("tablet", "Command")


def test_history_is_for_whoever_may_observe(guarded: Publish, ring: Keyring) -> None:
    from otter_robots.client import OLDEST

    with guarded() as running, client(running, ring, "eye") as eye:
        seqs = []
        for envelope, _ in eye.messages([ANSWER], 20, since=OLDEST):
            seqs.append(envelope.seq)
            if len(seqs) == 50:
                break
        assert seqs == list(range(1, 51))


def test_an_order_in_anothers_name_is_refused(guarded: Publish, ring: Keyring) -> None:
    with guarded() as running, client(running, ring, "arm") as arm:
        arm.stop()
        arm._stamper.client = "tablet"
        with pytest.raises(RequestRefused, match="the key is arm's"):
            arm.resume()


def test_a_strange_key_is_refused_and_said_so(
    guarded: Publish, ring: Keyring, tmp_path: Path
) -> None:
    path = handed(other_key(ring, tmp_path), tmp_path / "stranger.client")
    with guarded() as running:
        with Client(running.stream, running.requests, key=path) as stranger:
            with pytest.raises(KeyRefused, match="refuses the key of stranger"):
                stranger.ask("may I?")
            stranger.subscribe()
            with pytest.raises(KeyRefused):
                stranger.receive(20)
        (denied,) = audited(running, "denied")
        assert (denied.key, denied.client) == (read(path).public, "")
        assert denied.address == "127.0.0.1"


@pytest.mark.parametrize("key", ["none", "another runtime's"])
def test_without_a_key_of_this_runtime_there_is_silence(
    key: str, guarded: Publish, tmp_path: Path
) -> None:
    """Who has another server's key is safe as well: whoever took a runtime's place learns nothing.

    A client that waits for it says that nobody is there.
    """
    path = make_folder(tmp_path / "other").make("arm", "command") if key != "none" else None
    with guarded() as running, Client(running.stream, running.requests, key=path) as bus:
        bus.subscribe()
        with pytest.raises(NobodyListening, match="--key"):
            bus.ask("hello?")
        assert bus.receive(0.1) is None


def test_a_revoked_key_loses_its_live_connections(guarded: Publish, ring: Keyring) -> None:
    with guarded() as running:
        with client(running, ring, "arm") as arm, client(running, ring, "tablet") as tablet:
            for bus in (arm, tablet):
                bus.subscribe([ANSWER])
                hear(bus, 5)
            arm.command("wave")
            ring.revoke("arm")
            with pytest.raises(KeyRefused):
                hear(arm, 1 << 40)
            with pytest.raises(KeyRefused):
                arm.stop()
            # Who was not revoked is back by itself, without a hole where it asks for none.
            assert isinstance(tablet.ask("still there?", timeout_s=20), Answer)
            last = hear(tablet, 1)[0][0].seq
            assert hear(tablet, 20)[-1][0].seq >= last + 20
        assert [entry.client for entry in audited(running, "order")] == ["arm"]
        assert [entry.client for entry in audited(running, "revoked")] == ["arm"]


def test_a_key_that_was_made_while_it_runs_is_let_in(guarded: Publish, ring: Keyring) -> None:
    with guarded() as running:
        ring.make("late", "ask")
        until_s = time.monotonic() + 20
        while True:  # it looks at the list five times a second; a refused key is refused for good
            with client(running, ring, "late") as late:
                try:
                    assert isinstance(late.ask("now?", timeout_s=20), Answer)
                    return
                except KeyRefused:
                    assert time.monotonic() < until_s


def test_a_broken_list_lets_nobody_in_and_says_so(guarded: Publish, ring: Keyring) -> None:
    path = ring.folder / "clients.json"
    good = path.read_bytes()
    with guarded() as running, client(running, ring, "arm") as arm:
        arm.ask("here?", timeout_s=20)
        path.write_bytes(b"[{]")
        with pytest.raises((NobodyListening, NoAnswer)):
            ask_for_ever(arm)
        path.write_bytes(good)
        answered(arm)


# What a stranger may send.


def test_plain_bytes_at_a_guarded_port_are_no_message(ring: Keyring, tmp_path: Path) -> None:
    dice = random.Random(6)
    greetings = [
        b"",
        b"\x01\x00",  # the protocol of ZeroMQ 2, which knows no keys
        b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(48),
        b"\xff" + bytes(8) + b"\x7f\x03\x00CURVE" + bytes(47),
        b"GET / HTTP/1.1\r\n\r\n",
    ]
    with Bus(TCP, TCP, Journal(tmp_path / "j.db"), ring) as bus:
        taken: list[object] = []
        for number in range(200):
            port = int((bus.stream, bus.requests)[number % 2].rpartition(":")[2])
            with socket.create_connection(("127.0.0.1", port)) as raw:
                raw.sendall(greetings[number % len(greetings)] + dice.randbytes(300))
                taken += bus.poll(1)
        taken += bus.poll(300)
        assert taken == []
        assert bus.hostile == 0
        assert bus.subscriptions.prefixes == set()


def test_oversized_messages_cost_their_sender_the_connection(
    guarded: Publish, ring: Keyring
) -> None:
    with guarded() as running, client(running, ring, "arm") as arm:
        arm.ask("before?", timeout_s=20)
        arm._dealer.send(b"x" * (MAX_MESSAGE_BYTES + 1))
        answered(arm)
        arm.subscribe([HEALTH])
        assert isinstance(hear(arm, 1)[0][1], Health)


@pytest.mark.parametrize("keyed", [True, False])
def test_400_idle_connections_are_outlived(
    keyed: bool, guarded: Publish, publish: Publish, ring: Keyring
) -> None:
    with guarded() if keyed else publish(endpoint=TCP) as running:
        ports = [int(one.rpartition(":")[2]) for one in (running.stream, running.requests)]
        idle = [socket.create_connection(("127.0.0.1", ports[i % 2])) for i in range(400)]
        for number, one in enumerate(idle):  # some begin a handshake and leave it at that
            one.sendall((b"\xff" + bytes(8) + b"\x7f\x03\x00CURVE")[: number % 17])
        key = ring.folder / "arm.client" if keyed else None
        with Client(running.stream, running.requests, key=key) as arm:
            arm.subscribe([ANSWER])
            assert isinstance(arm.ask("anybody?", timeout_s=20), Answer)
            hear(arm, 1)
        for one in idle:
            one.settimeout(20)
            while one.recv(1000):  # the greeting, then the end
                pass
            one.close()


# Where it does not start.


@pytest.mark.parametrize("endpoint", ["tcp://0.0.0.0:*", "tcp://*:*"])
def test_beyond_this_machine_it_takes_keys(endpoint: str, ring: Keyring, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.db")
    with pytest.raises(AddressRefused, match="otter-edge keys make"):
        Bus(endpoint, endpoint, journal)
    with Bus(endpoint, endpoint, journal, ring) as bus:
        assert bus.stream.startswith("tcp://0.0.0.0:")
    with pytest.raises(AddressRefused, match="--key"):
        Client("tcp://robot.local:5555", "tcp://robot.local:5556")
    with Client("tcp://192.0.2.1:5555", "tcp://192.0.2.1:5556", key=ring.folder / "eye.client"):
        pass


@pytest.mark.parametrize("keys", [[], ["--keys", "nowhere"]])
def test_a_run_does_not_start_without_keys(keys: list[str], video: Callable[..., Path]) -> None:
    words = ["--source", str(video()), "--stream", "tcp://*:0", "--requests", "tcp://*:0", *keys]
    done = subprocess.run(
        [sys.executable, "-m", "otter_runtime", "run", *words], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "otter-edge keys make" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_ipc_needs_no_key_where_tcp_does(ring: Keyring, publish: Publish) -> None:
    keyed = publish("--keys", str(ring.folder))
    with keyed as running, Client(running.stream, running.requests) as here:
        here.stop()
        assert isinstance(here.ask("here?", timeout_s=20), Answer)


def test_a_second_process_cannot_take_an_ipc_path(publish: Publish, tmp_path: Path) -> None:
    with publish() as running, Client(running.stream, running.requests) as bus:
        words = [running.stream, running.requests, str(tmp_path / "other.db")]
        second = subprocess.run(
            [sys.executable, str(SERVER), *words], capture_output=True, text=True, timeout=60
        )
        assert second.returncode != 0
        assert "PortInUse" in second.stderr
        assert isinstance(bus.ask("still here?", timeout_s=20), Answer)


def test_a_stopped_client_is_noticed(guarded: Publish, ring: Keyring) -> None:
    """Heartbeats end its connections, encrypted or not; without them it would stay for ever."""
    words = "import sys; from otter_robots.client import Client; "
    words += "bus = Client(sys.argv[1], sys.argv[2], key=sys.argv[3]); "
    words += "bus.subscribe(); bus.receive(); print('here', flush=True); "
    words += "[bus.receive() for _ in iter(int, 1)]"
    with guarded() as running:
        descriptors = Path(f"/proc/{running.process.pid}/fd")
        before = len(list(descriptors.iterdir()))
        arguments = [running.stream, running.requests, str(ring.folder / "eye.client")]
        with subprocess.Popen(
            [sys.executable, "-c", words, *arguments], stdout=subprocess.PIPE, text=True
        ) as eye:
            assert eye.stdout is not None
            assert eye.stdout.readline() == "here\n"
            assert len(list(descriptors.iterdir())) >= before + 2
            eye.send_signal(signal.SIGSTOP)
            until_s = time.monotonic() + 20
            while len(list(descriptors.iterdir())) > before and time.monotonic() < until_s:
                time.sleep(0.1)
            assert len(list(descriptors.iterdir())) <= before
            eye.kill()


def test_a_message_that_was_under_way_when_its_key_was_revoked(
    ring: Keyring, tmp_path: Path
) -> None:
    """It is judged when it is read, not when it was sent."""
    with zmq.Context() as context:
        doorman = Doorman(context, ring, audit.Audit(tmp_path))
        with doorman.socket:
            admission = Admission("run", doorman, doorman.audit)
            question = Question(id="q", text="where?")
            envelope = seal(question, topic="request", epoch="e", seq=1)
            key = read(ring.folder / "tablet.client").public
            request = Request(b"peer", envelope, question, key=key)
            assert admission.refusal(request) is None
            ring.revoke("tablet")
            ring.reload()
            refusal = admission.refusal(request)
    assert refusal is not None
    assert refusal.reason == DENIED


def test_on_an_event_loop_it_is_the_same(guarded: Publish, ring: Keyring, tmp_path: Path) -> None:
    path = handed(other_key(ring, tmp_path), tmp_path / "stranger.client")
    arm = ring.folder / "arm.client"

    async def meet(stream: str, requests: str) -> None:
        async with aio.Client(stream, requests, key=arm) as bus:
            assert isinstance(await bus.ask("here?", timeout_s=20), Answer)
            await bus.stop()
        async with aio.Client(stream, requests, key=path) as bus:
            bus.subscribe()
            with pytest.raises(KeyRefused):
                await bus.receive(20)

    with guarded() as running:
        asyncio.run(meet(running.stream, running.requests))
