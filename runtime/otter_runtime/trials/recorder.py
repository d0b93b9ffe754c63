"""The thread that writes a trial, and the queue in front of it.

It knows segments, the shelf and what is urgent; it does not know what is recorded why (see `tap`).
Messages keep their order; what has to be on the disk before it is published goes there with a
promise that its sender waits for. Frames come by way of the encoder; where too many wait there, one
is left out and counted, an answer never.

Whatever fails, the run goes on: `trouble` says what, and a new file is tried every few seconds.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from otter_robots.envelope import Envelope
from otter_robots.messages import Message
from otter_robots.topics import TOPICS
from otter_runtime.config import RecordConfig
from otter_runtime.errors import RecordError
from otter_runtime.frame import Frame
from otter_runtime.request import Request
from otter_runtime.scribe import Said, go_on
from otter_runtime.trials.about import about
from otter_runtime.trials.channels import (
    CAMERA,
    Show,
    channels,
    enveloped,
    ordered,
    published,
    requested,
)
from otter_runtime.trials.encoder import Encoder, Shot, show
from otter_runtime.trials.segment import PART, Segment
from otter_runtime.trials.shelf import Policy, Shelf
from otter_runtime.trials.verified import promote

# How long a publication waits for the disk; one that is slower is Fault `record`, and not waited
# for until it has caught up.
PATIENCE_S = 1.0
FLUSH_S = 1.0
RETRY_S = 5.0
EXPIRE_S = 10.0
# What a disk that hangs may cost in memory.
MOST_MESSAGES = 20_000
END_S = 30.0


class Entry(NamedTuple):
    """A message to be written; `data` is made by the thread."""

    topic: str
    order: int
    mono_ns: int
    publish_ns: int | None
    data: Callable[[], bytes]


class Batch(NamedTuple):
    """Messages that are written together; with `done` they are synced, too."""

    entries: Sequence[Entry]
    done: threading.Event | None


class Recorder:
    """One trial. All but `close` is called by one thread, and none of it waits unless it says so.

    `recorded` messages are in the files or on their way, `dropped` frames were left out, `lost`
    messages could not be written. While `paused` nothing is taken.
    """

    def __init__(
        self, config: RecordConfig, files: Mapping[str, bytes], bundle: Path | None = None
    ) -> None:
        """Begin a trial in `config.folder`; raises UserError where that cannot be written."""
        policy = Policy(config.keep_days, config.keep_gb, config.reserve_mb)
        self.config = config
        self.paused = False
        self.recorded = self.dropped = self.lost = 0
        self._shelf = Shelf(Path(config.folder or "."), policy)
        self.folder = self._shelf.begin()
        self._about = about(self.folder.name, files, bundle)
        self._trouble = ""
        self._behind = False
        self._orders = 0
        self._batches: deque[Batch] = deque()
        self._waiting = 0  # entries in `_batches`
        self._wake = threading.Condition()
        self._closing = self._urgent = False
        self._segment: Segment | None = None
        self._segments = 0
        self._opened_s = self._flush_at_s = self._retry_at_s = self._expire_at_s = 0.0
        self._promoting: list[threading.Thread] = []
        self._encoder = Encoder(config.queue_frames, self._encoded)
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    # What the front calls.

    @property
    def trouble(self) -> str:
        """What is wrong with the recording just now."""
        return self._trouble or ("the disk of the recording is slow" if self._behind else "")

    def heard(self, envelope: Envelope, message: Message) -> None:
        """Record what another process published, at its own wall time; wait for it if it counts."""
        mono_ns = self._about.mono_ns + envelope.wall_ns - self._about.wall_ns
        entry = self._published(envelope, message)._replace(mono_ns=mono_ns)
        done = threading.Event() if TOPICS[envelope.topic].journalled else None
        self._put([entry], done)
        if done:
            self._wait(done)

    @property
    def unrecorded(self) -> int:
        """Frames and messages that are not in the trial."""
        return self.dropped + self.lost

    def publications(self, said: Sequence[Said]) -> Callable[[], None]:
        """Record what is about to be published: envelope, message, whether it must not be lost.

        What is given back waits until those are on the disk, as long as that is bearable.
        """
        if self.paused:
            return go_on
        entries = [self._published(envelope, message) for envelope, message, _ in said]
        if not any(urgent for _, _, urgent in said):
            self._put(entries, None)
            return go_on
        done = threading.Event()
        self._put(entries, done)
        return partial(self._wait, done)

    def message(self, topic: str, data: Callable[[], bytes]) -> None:
        """Record a message of the file's own topics."""
        if self.paused:
            return
        self._put([self._entry(topic, time.monotonic_ns(), None, data)], None)

    def request(self, request: Request) -> None:
        """Record a request, without the files that came with it: frames and pins have them."""
        envelope, message, key = request.envelope, request.message, request.key
        self.message(requested(type(message)), partial(enveloped, envelope, message, key=key))

    def frame(self, frame: Frame) -> None:
        """Record what the brain is shown."""
        if self.paused:
            return
        if self._encoder.full:
            self.dropped += 1
            self.message(ordered(Show), partial(show, frame))
            return
        self._orders += 2
        self._encoder.take(Shot(self._orders - 1, time.monotonic_ns(), frame))

    def close(self) -> None:
        """Write what waits, finish the last file and verify it."""
        self._encoder.close()
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(END_S)
        for thread in self._promoting:
            thread.join(END_S)
        self._shelf.close()

    def _published(self, envelope: Envelope, message: Message) -> Entry:
        data = partial(enveloped, envelope, message)
        return self._entry(published(type(message)), envelope.mono_ns, envelope.wall_ns, data)

    def _entry(
        self, topic: str, mono_ns: int, publish_ns: int | None, data: Callable[[], bytes]
    ) -> Entry:
        self._orders += 1
        return Entry(topic, self._orders, mono_ns, publish_ns, data)

    def _put(self, entries: Sequence[Entry], done: threading.Event | None) -> None:
        with self._wake:
            if self._waiting + len(entries) > MOST_MESSAGES or not self._thread.is_alive():
                self.lost += len(entries)
                self._behind = True
                return
            self._batches.append(Batch(entries, done))
            self._waiting += len(entries)
            # Small things wait for company: each time that the thread wakes up costs the loop.
            if done or entries[-1].topic == CAMERA:
                self._urgent = True
                self._wake.notify()

    def _wait(self, done: threading.Event) -> None:
        if not self._behind and not done.wait(PATIENCE_S):
            self._behind = True

    def _encoded(self, shot: Shot, seen: bytes, image: bytes | None) -> None:
        """A frame comes back from the encoder, in its thread."""
        entries = [Entry(ordered(Show), shot.order, shot.mono_ns, None, lambda: seen)]
        if image is None:
            self.dropped += 1
        else:
            entries.append(Entry(CAMERA, shot.order + 1, shot.mono_ns, None, lambda: image))
        self._put(entries, None)

    # What the thread does.

    def _run(self) -> None:
        while self._turn():
            pass
        self._end_segment()

    def _turn(self) -> bool:
        """Write what waits; False once all is written and it is to end."""
        with self._wake:
            self._wake.wait_for(lambda: self._urgent or self._closing, timeout=FLUSH_S)
            batches, self._batches, self._waiting = self._batches, deque(), 0
            self._urgent = False
            over = self._closing and not batches
        if batches:
            self._write_batches(batches)
        self._tend()
        return not over

    def _write_batches(self, batches: Sequence[Batch]) -> None:
        entries = [entry for batch in batches for entry in batch.entries]
        urgent = any(batch.done for batch in batches)
        # Once more where the first file is at its end, and the disk is not.
        if self._write(entries, urgent) or self._write(entries, urgent):
            self._behind = False
        else:
            self.lost += len(entries)
        for batch in batches:
            if batch.done:
                batch.done.set()

    def _write(self, entries: Sequence[Entry], urgent: bool) -> bool:
        """Put them into the file, and onto the disk where that is urgent; whether it worked."""
        try:
            segment = self._current()
            for entry in entries:
                log_ns = self._about.log_ns(entry.mono_ns)
                publish_ns = log_ns if entry.publish_ns is None else entry.publish_ns
                segment.add(entry.topic, entry.data(), log_ns, publish_ns, entry.order)
                if entry.topic == CAMERA:
                    segment.end_chunk()
            if urgent:
                self._sync(segment)
        except RecordError as error:
            self._fail(str(error), len(entries))
            return False
        self.recorded += len(entries)
        return True

    def _sync(self, segment: Segment) -> None:
        segment.sync()
        self._flush_at_s = time.monotonic() + FLUSH_S
        self._trouble = ""

    def _current(self) -> Segment:
        """The file that is written to; a new one where there is none. Raises RecordError."""
        if self._segment is None:
            now_s = time.monotonic()
            if now_s < self._retry_at_s:
                raise RecordError(self._trouble)
            self._retry_at_s = now_s + RETRY_S
            self._make_room()
            path = self.folder / f"{self._segments:04}.mcap"
            self._segment = Segment(path, channels().values(), self._about)
            self._segments += 1
            self._retry_at_s, self._opened_s = 0.0, now_s
        return self._segment

    def _make_room(self) -> None:
        try:
            self._shelf.expire()
            short = self._shelf.short
        except OSError as error:
            raise RecordError(f"{self._shelf.folder} cannot be read: {error}") from error
        if short:
            raise RecordError(
                f"less than {self.config.reserve_mb:g} MB are free at {self._shelf.folder} and no "
                "old trial is left to remove; nothing is recorded until there is room"
            )

    def _fail(self, why: str, entries: int) -> None:
        """Leave the file as it is up to its last sync; the next write tries another one."""
        self._trouble = why
        segment, self._segment = self._segment, None
        if segment is not None:
            lost = max(0, segment.unsynced - entries)
            self.lost += lost
            self.recorded -= lost
            segment.abandon()

    def _tend(self) -> None:
        """What is due: a sync each second, another file each minute, room on the disk."""
        now_s = time.monotonic()
        if now_s >= self._expire_at_s:
            self._expire_at_s = now_s + EXPIRE_S
            self._keep_reserve()
        segment = self._segment
        if segment is None:
            return
        if now_s - self._opened_s >= self.config.segment_s:
            self._end_segment()
        elif segment.unsynced and now_s >= self._flush_at_s:
            try:
                self._sync(segment)
            except RecordError as error:
                self._fail(str(error), 0)

    def _keep_reserve(self) -> None:
        try:
            self._make_room()
        except RecordError as error:
            self._end_segment()
            self._trouble = str(error)
            self._retry_at_s = time.monotonic() + RETRY_S

    def _end_segment(self) -> None:
        segment, self._segment = self._segment, None
        if segment is None:
            return
        try:
            crc = segment.finish({"dropped_frames": str(self.dropped), "lost": str(self.lost)})
        except RecordError as error:
            self._trouble = str(error)
            self.lost += segment.unsynced
            self.recorded -= segment.unsynced
            return
        thread = threading.Thread(target=self._promote, args=(segment.path, crc), daemon=True)
        self._promoting = [one for one in self._promoting if one.is_alive()] + [thread]
        thread.start()

    def _promote(self, path: Path, crc: int) -> None:
        try:
            promote(Path(f"{path}{PART}"), path, crc)
        except (RecordError, OSError) as error:
            self._trouble = str(error)
