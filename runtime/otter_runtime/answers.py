"""What becomes of an ask, as a robot hears it: with age, validity, source and model.

It knows messages and the clock's readings; it does not know how answers are sent.
"""

from __future__ import annotations

import re

from otter_robots.messages import Abstain, Answer, AnswerDelta
from otter_runtime.config import RunConfig
from otter_runtime.wire import Ask, Piece, Said

# "1. Go left" or "- go left" at the start of a line; "1.5 m" is no step.
_MARK = re.compile(r"^\s*(?:\d+[.)]|[-*•])\s+")


def answered(
    ask: Ask, said: Said, now_ns: int, model_hash: str, config: RunConfig
) -> Answer | Abstain:
    """What to publish at monotonic `now_ns`: an Abstain where the newest frame is too old."""
    message = answer(
        said,
        now_ns=now_ns,
        ttl_ms=config.ttl_ms,
        model_hash=model_hash,
        question_id=ask.question_id,
        instruction=_instruction(ask),
        deadline_ns=ask.deadline_ns,
    )
    if message.age_ms <= config.oldest_ms:
        return message
    detail = (
        f"the answer's newest frame is {message.age_ms / 1e3:.1f} s old, and may be "
        f"{config.oldest_ms / 1e3:g} s (oldest_ms); ask again"
    )
    return abstained(ask, "stale", detail, message.frame_ids)


def abstained(ask: Ask, reason: str, detail: str, frame_ids: tuple[int, ...] = ()) -> Abstain:
    """No answer to this."""
    return Abstain(
        reason=reason,
        detail=detail,
        question_id=ask.question_id,
        instruction=_instruction(ask),
        frame_ids=frame_ids,
    )


def grown(ask: Ask, piece: Piece) -> AnswerDelta:
    """Some more of an answer."""
    return AnswerDelta(
        text=piece.text,
        index=piece.index,
        question_id=ask.question_id,
        instruction=_instruction(ask),
    )


def _instruction(ask: Ask) -> str | None:
    """The text, where nobody asked it."""
    return ask.text if ask.standing else None


def answer(
    said: Said,
    *,
    now_ns: int,
    ttl_ms: float,
    model_hash: str,
    question_id: str | None = None,
    instruction: str | None = None,
    deadline_ns: int | None = None,
) -> Answer:
    """The Answer to publish at monotonic `now_ns`; late where its ttl or deadline has passed."""
    newest = said.stamps[-1]
    age_ms = max(0.0, (now_ns - newest.mono_ns) / 1e6)
    past_deadline = deadline_ns is not None and now_ns > deadline_ns
    return Answer(
        text=said.text,
        frame_ids=tuple(stamp.id for stamp in said.stamps),
        captured_mono_ns=newest.mono_ns,
        captured_wall_ns=newest.wall_ns,
        age_ms=age_ms,
        ttl_ms=ttl_ms,
        model_hash=model_hash,
        question_id=question_id,
        instruction=instruction,
        source=newest.source,
        source_index=newest.index,
        steps=steps(said.text),
        confidence=min(1.0, max(0.0, said.confidence)),
        late=age_ms > ttl_ms or past_deadline,
        partial=said.partial,
        timing={name: round(value, 3) for name, value in said.timing.items()},
        choices=said.choices,
    )


def steps(text: str) -> tuple[str, ...]:
    """The steps of a plan: its lines, without their numbers or bullets."""
    lines = (_MARK.sub("", line).strip() for line in text.splitlines())
    return tuple(line for line in lines if line)


def frames_of(message: Answer) -> str:
    """The frames an answer is about, short: `12` or `9-12`."""
    first, last = message.frame_ids[0], message.frame_ids[-1]
    return str(last) if first == last else f"{first}-{last}"
