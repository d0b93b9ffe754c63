"""What is served over HTTP: alive, ready, metrics, on this machine alone."""

from __future__ import annotations

import json
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from otter_robots.envelope import Envelope, seal
from otter_robots.messages import Abstain, Answer, Fault, Health, Message, Status
from otter_runtime.assembly import assembled
from otter_runtime.config import HealthConfig, RunConfig
from otter_runtime.errors import AddressRefused, MissingExtra, PortInUse
from otter_runtime.lookout import Lookout
from otter_runtime.metrics import Metrics
from otter_runtime.readiness import Readiness

WELL = Health(uptime_s=5, frames=9, frame_age_ms=40.0, disk_free_mb=500.0, temperature_c=51.5)


def sealed(message: Message) -> Envelope:
    return seal(message, topic="x", epoch="e", seq=1)


class Told:
    """Everything that hears what is published, and what it serves."""

    def __init__(self) -> None:
        self.readiness, self.metrics = Readiness(reserve_mb=100), Metrics()
        self.lookout = Lookout(
            "127.0.0.1:0", self.readiness.dead, self.readiness.unready, self.metrics.text
        )

    def hear(self, *messages: Message) -> None:
        for message in messages:
            self.readiness.hear(sealed(message), message)
            self.metrics.hear(sealed(message), message)

    def get(self, page: str) -> tuple[int, str]:
        address = f"http://127.0.0.1:{self.lookout.port}{page}"
        try:
            with urllib.request.urlopen(address, timeout=20) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, refusal.read().decode()

    def sample(self, name: str, **labels: str) -> float | None:
        families = list(text_string_to_metric_families(self.get("/metrics")[1]))
        for family in families:
            for sample in family.samples:
                if sample.name == name and sample.labels == labels:
                    return sample.value
        return None


@pytest.fixture
def told() -> Iterator[Told]:
    told = Told()
    yield told
    told.lookout.close()


def answer(**timing: float) -> Answer:
    return Answer(
        text="Go.",
        frame_ids=(1,),
        captured_mono_ns=0,
        captured_wall_ns=0,
        age_ms=30.0,
        ttl_ms=1000.0,
        model_hash="ab",
        timing=timing,
    )


def test_a_heartbeat_is_life(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    assert told.get("/healthz")[0] == 200
    now_s = time.monotonic()
    monkeypatch.setattr("otter_runtime.readiness.time.monotonic", lambda: now_s + 60)
    code, body = told.get("/healthz")
    assert (code, json.loads(body)["alive"]) == (503, False)
    assert "no heartbeat for 60 s" in body or "no heartbeat for 59 s" in body
    told.hear(WELL)
    assert told.get("/healthz")[0] == 200


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"brain_alive": False}, "the model is not loaded"),
        ({"blind": "camera-lost"}, "camera-lost"),
        ({"frame_age_ms": None}, "no frame was seen yet"),
        ({"journal_ok": False}, "the journal cannot be written"),
        ({"disk_free_mb": 99.0}, "the disk is nearly full"),
    ],
)
def test_ready_is_more_than_alive(told: Told, change: dict[str, object], reason: str) -> None:
    assert told.get("/readyz")[0] == 503
    told.hear(WELL)
    assert told.get("/readyz") == (200, '{"ready": true, "reasons": []}\n')
    told.hear(msgspec.structs.replace(WELL, **change))
    code, body = told.get("/readyz")
    assert (code, json.loads(body)["reasons"]) == (503, [reason])
    assert told.get("/healthz")[0] == 200


def test_metrics_follow_what_is_published(told: Told) -> None:
    assert told.sample("otter_temperature_celsius") is None
    told.hear(
        WELL,
        Status(state="running", model="pocket", model_hash="abc"),
        answer(prefill_ms=4.0, total_ms=30.0),
        answer(prefill_ms=400.0, total_ms=1000.0),
        Abstain(reason="camera-stale"),
        Fault(code="brain", detail=""),
        Fault(code="brain", detail="", cleared=True),
    )
    assert told.sample("otter_temperature_celsius") == 51.5
    assert told.sample("otter_disk_free_bytes") == 5e8
    assert told.sample("otter_frames_total") == 9
    assert told.sample("otter_model_info", model="pocket", model_hash="abc") == 1
    assert told.sample("otter_stage_seconds_count", stage="prefill") == 2
    assert told.sample("otter_stage_seconds_bucket", stage="prefill", le="0.005") == 1
    assert told.sample("otter_stage_seconds_sum", stage="total") == pytest.approx(1.03)
    assert told.sample("otter_answers_total", asked="instruction") == 2
    assert told.sample("otter_abstentions_total", reason="camera-stale") == 1
    assert told.sample("otter_faults_total", code="brain") == 1


def test_there_is_nothing_else(told: Told) -> None:
    assert told.get("/")[0] == 404


def test_a_prober_that_says_nothing_holds_nobody_up(told: Told) -> None:
    silent = [socket.create_connection(("127.0.0.1", told.lookout.port)) for _ in range(20)]
    assert told.get("/healthz")[0] == 200
    for one in silent:
        one.close()


@pytest.mark.parametrize(
    "address", ["0.0.0.0:9464", "192.168.1.4:9464", ":9464", "9464", "::1:9464", "example.org:80"]
)
def test_beyond_this_machine_nothing_is_served(address: str) -> None:
    with pytest.raises(AddressRefused, match=r"127\.0\.0\.1:port"):
        Lookout(address, list, list, bytes)


def test_a_port_in_use_is_said(told: Told) -> None:
    with pytest.raises(PortInUse):
        Lookout(f"127.0.0.1:{told.lookout.port}", list, list, bytes)
    with pytest.raises(AddressRefused, match="needs a port"):
        Lookout("127.0.0.1:http", list, list, bytes)


def test_without_its_package_the_pip_line_is_said(
    monkeypatch: pytest.MonkeyPatch, video: Callable[..., Path]
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "otter_runtime.metrics")
    config = RunConfig(source=[str(video())], health=HealthConfig(address="127.0.0.1:0"))
    with pytest.raises(MissingExtra, match=r"otter-edge\[metrics\]"):
        assembled(config).__enter__()
