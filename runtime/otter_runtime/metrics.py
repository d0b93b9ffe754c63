"""What Prometheus scrapes, from what is said on the bus.

It knows messages; it does not know who serves the text. The front's thread tells it of each
message, which costs microseconds; a scrape is another thread's.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from otter_robots.envelope import Envelope
from otter_robots.messages import Abstain, Answer, Fault, Health, Message, Status

MIB = 1 << 20
SECONDS = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0,
)  # fmt: skip

# Name, what it is, the field of Health and what to multiply it by.
GAUGES = (
    ("uptime_seconds", "since the start", "uptime_s", 1.0),
    ("brain_up", "1 where the model is loaded", "brain_alive", 1.0),
    ("frame_age_seconds", "age of the newest frame at the last heartbeat", "frame_age_ms", 1e-3),
    ("journal_ok", "1 where the journal takes what is published", "journal_ok", 1.0),
    ("disk_free_bytes", "where the journal is", "disk_free_mb", 1e6),
    ("resident_bytes", "of the front process", "rss_mib", MIB),
    ("temperature_celsius", "of the hottest sensor", "temperature_c", 1.0),
    ("governor_step", "how far performance is lowered", "governor_step", 1.0),
    ("stopped", "1 from a stop to the next resume", "stopped", 1.0),
)
COUNTERS = (
    ("frames", "frames that were encoded", "frames"),
    ("frames_dropped", "frames that a newer one replaced", "frames_dropped"),
    ("frames_damaged", "frames that could not be decoded", "frames_damaged"),
    ("missed", "messages that subscribers missed", "missed"),
    ("recovered", "of those, given from the journal", "recovered"),
    ("lost", "of those, gone for good", "lost"),
    ("late", "answers after their ttl or deadline", "late"),
    ("denied", "connections turned away for their key", "denied"),
    ("hostile", "requests that were no message of ours", "hostile"),
    ("brain_restarts", "brains that were started again", "brain_restarts"),
    ("recorded", "messages in the trial", "recorded"),
    ("unrecorded", "frames and messages that are not in it", "unrecorded"),
    ("throttled", "times that the hardware throttled itself", "throttled"),
)


class Metrics:
    """One run's, every name beginning with `otter_`."""

    def __init__(self) -> None:
        self._registry = own = CollectorRegistry()
        self._stages = Histogram(
            "otter_stage_seconds",
            "of an answer, by stage",
            ["stage"],
            buckets=SECONDS,
            registry=own,
        )
        self._age = Histogram(
            "otter_answer_age_seconds", "its newest frame's", buckets=SECONDS, registry=own
        )
        self._answers = Counter("otter_answers", "by what was answered", ["asked"], registry=own)
        self._abstentions = Counter("otter_abstentions", "by reason", ["reason"], registry=own)
        self._faults = Counter("otter_faults", "that began, by code", ["code"], registry=own)
        self._beat = _Beat()
        self._registry.register(self._beat)

    def hear(self, envelope: Envelope, message: Message) -> None:
        """Something was published."""
        if isinstance(message, Health):
            self._beat.health = message
        elif isinstance(message, Status):
            self._beat.status = message
        elif isinstance(message, Answer):
            self._answer(message)
        elif isinstance(message, Abstain):
            self._abstentions.labels(message.reason).inc()
        elif isinstance(message, Fault) and not message.cleared:
            self._faults.labels(message.code).inc()

    def _answer(self, answer: Answer) -> None:
        asked = "instruction" if answer.question_id is None else "question"
        self._answers.labels(asked).inc()
        self._age.observe(answer.age_ms / 1e3)
        for name, milliseconds in answer.timing.items():
            self._stages.labels(name.removesuffix("_ms")).observe(milliseconds / 1e3)

    def text(self) -> bytes:
        """All of them in Prometheus' text format."""
        return generate_latest(self._registry)


class _Beat(Collector):
    """What the last heartbeat said."""

    health: Health | None = None
    status: Status | None = None

    def collect(self) -> Iterator[Metric]:
        if self.status is not None:
            known = {"model": self.status.model, "model_hash": self.status.model_hash}
            yield InfoMetricFamily("otter_model", "what answers", value=known)
        if self.health is None:
            return
        for name, about, field, factor in GAUGES:
            value = getattr(self.health, field)
            if value is not None:
                yield GaugeMetricFamily(f"otter_{name}", about, value=value * factor)
        for name, about, field in COUNTERS:
            yield CounterMetricFamily(f"otter_{name}", about, value=getattr(self.health, field))
