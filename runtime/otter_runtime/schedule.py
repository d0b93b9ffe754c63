"""Which ask goes next, which lets a frame pass, and which must end now to end in time.

It knows jobs, deadlines and what steps cost; it does not know what a step does. Questions go
before the standing instruction, then the higher priority, the earlier deadline, the earlier asked.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from otter_runtime.cost import StepCost, putting
from otter_runtime.job import Job

NEVER_NS = 1 << 63


@dataclass
class Schedule:
    """The asks under way, in the order in which they matter."""

    cost: StepCost
    chunk: int  # tokens that are prefilled in one step
    jobs: list[Job] = field(default_factory=list)
    _ahead: Job | None = None  # it went ahead of a frame: no other one may before that

    def add(self, job: Job) -> None:
        """One more; among equals it goes last."""
        self.jobs.append(job)
        self.jobs.sort(key=_order)

    def remove(self, job: Job) -> None:
        """It is answered or declined."""
        self.jobs.remove(job)

    @property
    def hurried(self) -> bool:
        """Whether anybody has a deadline."""
        return any(job.ask.deadline_ns is not None for job in self.jobs)

    def opened(self, job: Job) -> None:
        """It has its first token, and a frame waited for that."""
        self._ahead = job

    def shown(self) -> None:
        """A frame had its turn."""
        self._ahead = None

    def goes_ahead(self, job: Job, now_ns: int) -> bool:
        """Whether it goes ahead of a frame that waits.

        A question does until its first token, and while a frame would take what is left to its
        deadline; but one question only: then a frame gets its turn.
        """
        if job.ask.standing or self._ahead not in (None, job):
            return False
        return not job.opened or self._tight(job, now_ns)

    def late(self, now_ns: int, running: Job | None, wait_ns: int, frames: int) -> Job | None:
        """An ask that has to end now, since waiting `wait_ns` for the next step would be too long.

        `running` is whose step that is, None where it is nobody's, and `frames` are those of the
        window. Who has said something ends before the deadline; who cannot in time, at once.
        """
        for job in self.jobs:
            if job.ask.deadline_ns is None:
                continue
            left_ns = self.left_ns(job, frames)
            if job is not running:
                left_ns = wait_ns if job.opened else wait_ns + left_ns
            if now_ns + left_ns >= job.ask.deadline_ns:
                return job
        return None

    def next_ns(self, job: Job, frames: int) -> int:
        """What its next step costs, at most."""
        if job.medium is None:
            return self.cost.ns("resample", frames)
        if job.work is None:
            return self.cost.ns("prefill", self.chunk)  # its prompt is not written yet
        left = len(job.work.left)
        if left:
            return self.cost.ns("prefill", min(left, self.chunk))
        return self.cost.ns(*putting(job.work.voice.width))

    def left_ns(self, job: Job, frames: int) -> int:
        """What it costs at least until there is more to say: the next token, or the first one."""
        if job.work is None:
            resample_ns = self.cost.ns("resample", frames if job.medium is None else 0)
            return resample_ns + self.cost.ns("prefill", 1)
        if not job.work.left:
            return self.cost.ns(*putting(job.work.voice.width))
        chunks, rest = divmod(len(job.work.left), self.chunk)
        return chunks * self.cost.ns("prefill", self.chunk) + self.cost.ns("prefill", rest)

    def _tight(self, job: Job, now_ns: int) -> bool:
        deadline_ns = job.ask.deadline_ns
        room_ns = self.cost.ns("encode", 1) + self.cost.ns("decode", 1)
        return deadline_ns is not None and now_ns + room_ns >= deadline_ns


def _order(job: Job) -> tuple[bool, int, int]:
    # The sort is stable: what is equal stays in the order in which it was asked.
    deadline_ns = job.ask.deadline_ns
    return job.ask.standing, -job.ask.priority, NEVER_NS if deadline_ns is None else deadline_ns
