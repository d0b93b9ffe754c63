"""Everything that is said on the bus, one frozen struct per message.

A message knows its fields and their bounds, not how it travels: `envelope` packs it, `topics`
says where it is published. Fields are only ever added, with a default, so that an old robot reads
a new runtime and the reverse; unknown fields are ignored.

Suffixes are units. `*_mono_ns` is the publisher's monotonic clock (orders and ages), `*_wall_ns`
nanoseconds since 1970 (for people).
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from otter_robots.errors import DENIED as DENIED
from otter_robots.errors import REPLAYED as REPLAYED
from otter_robots.errors import STALE as STALE
from otter_robots.skill import Choice, Offer

Id = Annotated[str, Meta(min_length=1, max_length=64)]
Name = Annotated[str, Meta(max_length=64)]
UserText = Annotated[str, Meta(min_length=1, max_length=4096)]
When = Literal["interval", "change", "both"]  # what makes the standing instruction due
Count = Annotated[int, Meta(ge=0)]
Milliseconds = Annotated[float, Meta(ge=0)]
# What a signed 64-bit integer holds: a database refuses more, and a sum of more cannot be packed.
MOST = (1 << 63) - 1
Seq = Annotated[int, Meta(ge=0, le=MOST)]

# What a command may say beside its name: NaN and infinities are out of bounds.
Number = Annotated[float, Meta(ge=-1e12, le=1e12)]
Argument = bool | Number | Annotated[str, Meta(max_length=1024)]
Arguments = Annotated[dict[Id, Argument], Meta(max_length=16)]

# The commands that every robot and the runtime know.
STOP, RESUME = "stop", "resume"

# Exemplars stand in front of every question: each costs prompt, and each picture an encoding.
MOST_EXEMPLARS, MOST_IMAGES = 4, 8

# A page of history: a few milliseconds' work for the runtime.
PAGE_MESSAGES = 256


class Message(Struct, frozen=True, kw_only=True, tag_field="type", tag=True):
    """Base of every message; `type` on the wire is the class name."""


# What a runtime publishes.


class Answer(Message, frozen=True, kw_only=True):
    """A plan, or the answer to a question, and exactly what it was derived from.

    `question_id` names the question; a standing instruction's answer has `instruction` instead.
    `frame_ids` are the frames the model saw, oldest first, and `captured_*` the capture time of
    the newest; `source` is the file or camera it is from and `source_index` its place therein, so
    that a reader finds the very picture. `age_ms` is that frame's age at publish, and the answer
    is valid until its age is `ttl_ms`. `late` says that a deadline or the ttl had passed at
    publish. `journalled` is set by the bus: false means this answer cannot be recovered after a
    crash. `timing` is milliseconds by stage. Where a robot offered its skills, `choices` are all
    that it could do, the likeliest first; `text` and `confidence` are then the first one's.
    """

    text: str
    frame_ids: tuple[int, ...]
    captured_mono_ns: int
    captured_wall_ns: int
    age_ms: Milliseconds
    ttl_ms: Milliseconds
    model_hash: str
    question_id: Id | None = None
    instruction: str | None = None
    source: str = ""
    source_index: Count | None = None
    steps: tuple[str, ...] = ()
    confidence: Annotated[float, Meta(ge=0, le=1)] | None = None
    late: bool = False
    partial: bool = False
    journalled: bool = False
    timing: dict[str, float] = {}
    choices: tuple[Choice, ...] = ()


class AnswerDelta(Message, frozen=True, kw_only=True):
    """A piece of an answer while it is being decoded; `index` counts from 0 within the answer."""

    text: str
    index: Count
    question_id: Id | None = None
    instruction: str | None = None


class Abstain(Message, frozen=True, kw_only=True):
    """The runtime declines to answer, and why: a stale, black or stuck camera, a passed deadline.

    `reason` is a short code a robot may switch on, `detail` a sentence for people.
    """

    reason: Name
    detail: str = ""
    question_id: Id | None = None
    instruction: str | None = None
    frame_ids: tuple[int, ...] = ()
    journalled: bool = False


class Status(Message, frozen=True, kw_only=True):
    """The life of a runtime; `ended` is the last message of an epoch that ended cleanly."""

    state: Literal["starting", "running", "ended"]
    detail: str = ""
    model: str = ""
    model_hash: str = ""
    source: str = ""
    instruction: str | None = None
    journalled: bool = False


class Health(Message, frozen=True, kw_only=True):
    """The heartbeat: published at the topic's rate whatever the camera and the model do.

    Counts are since the start. `frame_age_ms` is the age of the newest frame, None before the
    first; `frames_damaged` counts those that could not be decoded or were not what they said;
    `hostile` counts requests that were no message of ours. `missed` is what subscribers
    said they missed, `recovered` what they were given from the journal, `lost` what was gone.
    `stopped` is true from a Command `stop` to the next `resume`, across restarts. `blind` is the
    code of why nothing is answered from the camera just now, `disk_free_mb` the room where the
    journal is, `denied` how often somebody was turned away at the door. `temperature_c` is the
    hottest sensor's, None where there is none, `throttled` how often the hardware slowed itself,
    and `governor_step` how far the runtime lowered what it does. `power_mode` is its name on a
    Jetson, `cpu_mhz` and `gpu_mhz` the clocks of the fastest core and of the GPU just now. Where
    the run is recorded, `recorded` messages are in the trial, `unrecorded` frames and messages are
    not.
    `quiet` counts the standing instruction's answers that were not said, as they said nothing new.
    """

    uptime_s: Annotated[float, Meta(ge=0)]
    brain_alive: bool = True
    brain_restarts: Count = 0
    frames: Count = 0
    frames_dropped: Count = 0
    frames_damaged: Count = 0
    frame_age_ms: Milliseconds | None = None
    answers: Count = 0
    abstained: Count = 0
    late: Count = 0
    hostile: Count = 0
    missed: Count = 0
    recovered: Count = 0
    lost: Count = 0
    journal_ok: bool = True
    stopped: bool = False
    recorded: Count = 0
    unrecorded: Count = 0
    rss_mib: Annotated[float, Meta(ge=0)] | None = None
    blind: Name = ""
    disk_free_mb: Annotated[float, Meta(ge=0)] | None = None
    denied: Count = 0
    temperature_c: float | None = None
    governor_step: Count = 0
    throttled: Count = 0
    quiet: Count = 0
    power_mode: Name = ""
    cpu_mhz: Annotated[float, Meta(ge=0)] | None = None
    gpu_mhz: Annotated[float, Meta(ge=0)] | None = None


class Governor(Message, frozen=True, kw_only=True):
    """The runtime lowers or restores what it does, and why: heat, or a power supply at its limit.

    `step` counts from 0, where nothing is lowered, to `steps`. `rate_hz`, `window_frames`,
    `max_new_tokens` and `bundle` are the limits of this step; None is none. `temperature_c` is the
    hottest sensor's, called `zone`; `throttled` counts the hardware's own throttling since the
    start; `power_mode` is its name on a Jetson.
    """

    step: Count
    steps: Count
    reason: str
    temperature_c: float | None = None
    zone: Name = ""
    throttled: Count = 0
    power_mode: Name = ""
    rate_hz: Annotated[float, Meta(gt=0)] | None = None
    window_frames: Annotated[int, Meta(ge=1)] | None = None
    max_new_tokens: Annotated[int, Meta(ge=1)] | None = None
    bundle: str | None = None
    journalled: bool = False


class Fault(Message, frozen=True, kw_only=True):
    """Something is wrong and the runtime carries on; `cleared` says that it is over."""

    code: Name
    detail: str
    cleared: bool = False
    journalled: bool = False


# What a robot or a person asks of a runtime.


class Question(Message, frozen=True, kw_only=True):
    """A question about what the camera sees now; `id` is the asker's and returns in the answer.

    `deadline_ms` counts from the moment the runtime receives it; a higher `priority` goes first.
    `frame` is the number of a Picture that this asker pushed before: the question waits until that
    frame or a later one of the same scene is the newest in the window.
    With `skills` the answer is one of them, and carries the choice among all. Earlier questions of
    the same `conversation`, and what was answered, stand before this one.
    """

    id: Id
    text: UserText
    deadline_ms: Annotated[int, Meta(ge=1, le=3_600_000)] | None = None
    priority: Annotated[int, Meta(ge=-100, le=100)] = 0
    client: Name = ""
    frame: Seq | None = None
    skills: Offer | None = None
    conversation: Name = ""


class Picture(Message, frozen=True, kw_only=True):
    """A frame of the asker's own camera, for a runtime whose source is `bus`.

    The picture itself is the request's third part: a JPEG or PNG file of `width` x `height`, or
    `rgb8`, rows of red, green, blue. Frames of a scene come with rising `number` and `taken_ns`,
    the sender's own clock, which may be a simulator's and paces the window. `age_ms` is how old
    the frame was when it was sent. Another `scene` (a new episode, another place) empties the
    window. The acknowledgement comes when the frame was judged: `ok` false says what is wrong
    with it, and `detail` of a good one may say that a newer one took its place.
    """

    number: Seq
    width: Annotated[int, Meta(ge=1, le=7680)]
    height: Annotated[int, Meta(ge=1, le=4320)]
    encoding: Literal["jpeg", "png", "rgb8"]
    taken_ns: Seq
    age_ms: Annotated[float, Meta(ge=0, le=86_400_000)] = 0.0
    scene: Seq = 0
    source: Name = ""


class Stamp(Struct, frozen=True, kw_only=True):
    """Whose order this is, and until when: what makes an order count once and in time.

    `epoch` is the run of the runtime that it is for, `seq` the moment it was given, in nanoseconds
    of that runtime's monotonic clock, both known from an Ack's envelope (`epoch`, `mono_ns`). A
    client's `seq` only grows. An order for another run, one older than `ttl_ms`, and one that is
    not newer than the client's last is refused, so that a copy of it is worth nothing.
    """

    client: Name = ""
    epoch: Name = ""
    seq: Seq = 0
    ttl_ms: Annotated[float, Meta(gt=0, le=3_600_000)] = 2000.0


class Order(Message, frozen=True, kw_only=True):
    """Base of the requests that change something for everybody."""

    stamp: Stamp = Stamp()


class Instruct(Order, frozen=True, kw_only=True):
    """Replaces the standing instruction, asked again every `interval_s` seconds; an order.

    `when` asks it on a change of the picture instead, or on both; left out, the run's configuration
    decides. With `skills` every answer is one of them; their affordances stay those given here.
    """

    text: UserText
    interval_s: Annotated[float, Meta(ge=0.01, le=86_400)]
    skills: Offer | None = None
    when: When | None = None


class Command(Order, frozen=True, kw_only=True):
    """An order to the robots, told to them at once and as it is, past the model.

    `stop` pauses the standing instruction as well, and `resume` ends that; every other name is
    the robots' own. On topic `command` its `stamp` says who gave it.
    """

    name: Id
    arguments: Arguments = {}
    journalled: bool = False


class Image(Struct, frozen=True, kw_only=True):
    """A picture file of `width` x `height` that travels beside its message."""

    width: Annotated[int, Meta(ge=1, le=7680)]
    height: Annotated[int, Meta(ge=1, le=4320)]
    encoding: Literal["jpeg", "png"] = "jpeg"


class Exemplar(Order, frozen=True, kw_only=True):
    """Shows the model how to answer: an instruction about some pictures, and the answer wanted.

    It stands in front of every question and instruction from now on, until it is forgotten or the
    runtime ends; one with the same `id` takes its place. The pictures, oldest first, are further
    parts of the request, one each; they are seen as a window is. The acknowledgement comes when
    the model has taken it, and `ok` false says why it did not: too many exemplars, a prompt that
    would leave no room for a question, a damaged picture.
    """

    id: Id
    instruction: UserText
    answer: UserText
    images: Annotated[tuple[Image, ...], Meta(min_length=1, max_length=MOST_IMAGES)]


class Forget(Order, frozen=True, kw_only=True):
    """Takes back the Exemplar with this `id`, or all of them where it is empty."""

    id: Name = ""


class Cancel(Message, frozen=True, kw_only=True):
    """Drops a question that was not answered yet."""

    question_id: Id


class History(Message, frozen=True, kw_only=True):
    """Asks for what was journalled of a topic after (`epoch`, `seq`), oldest first, as a Page.

    An empty epoch asks from the oldest that is kept. `missed` is how many messages the asker
    missed on the stream since it last asked; the runtime adds it up in Health.
    """

    topic: Name
    epoch: Name = ""
    seq: Seq = 0
    limit: Annotated[int, Meta(ge=1, le=PAGE_MESSAGES)] = PAGE_MESSAGES
    missed: Seq = 0


class Snapshot(Message, frozen=True, kw_only=True):
    """Asks for the latest message of every topic in this epoch, as a Page."""


# What a runtime replies.


class Ack(Message, frozen=True, kw_only=True):
    """The runtime has the request; `ok` false means it refuses it, and `detail` says why.

    Where `retry_ms` is set, the same request is welcome after so many milliseconds. `reason` is a
    short code: `stale` and `replayed` for an order's stamp, `denied` for what a client may not.
    An order is acknowledged once it was carried out: robots were told, the instruction is another.
    """

    ok: bool = True
    detail: str = ""
    retry_ms: Milliseconds | None = None
    reason: Name = ""


class Page(Message, frozen=True, kw_only=True):
    """`count` messages as they were published, each in two further parts: envelope, blob.

    `more` says that there are later ones. In the place of messages that are gone stands one Lost,
    with the epoch and seq of the last of them.
    """

    topic: Name = ""
    count: Count
    more: bool = False


class Lost(Message, frozen=True, kw_only=True):
    """So many messages of a topic are gone for good.

    They left the retention, or were published while the journal failed.
    """

    topic: Name
    count: Count


Request = Exemplar | Forget | Question | Picture | Instruct | Command | Cancel | History | Snapshot
MESSAGES: tuple[type[Message], ...] = (
    Answer,
    AnswerDelta,
    Abstain,
    Status,
    Health,
    Governor,
    Fault,
    Question,
    Picture,
    Instruct,
    Command,
    Exemplar,
    Forget,
    Cancel,
    History,
    Snapshot,
    Ack,
    Page,
    Lost,
)
