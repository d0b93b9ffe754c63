"""A message as a line for people."""

from __future__ import annotations

from otter_robots.messages import (
    Abstain,
    Answer,
    AnswerDelta,
    Command,
    Exemplar,
    Fault,
    Governor,
    Health,
    Lost,
    Message,
    Status,
)


def describe(message: Message) -> str:
    """One line; every message of the table has its own, any other shows its fields."""
    if isinstance(message, Answer):
        return f"{message.text}  {_seen(message)}"
    if isinstance(message, Abstain):
        return f"no answer ({message.reason}): {message.detail}"
    if isinstance(message, AnswerDelta):
        return message.text
    if isinstance(message, Status):
        return f"{message.state} {message.detail}".rstrip()
    if isinstance(message, Fault):
        return f"{'over' if message.cleared else 'fault'} ({message.code}): {message.detail}"
    if isinstance(message, Governor):
        return f"governor at step {message.step} of {message.steps}: {message.reason}"
    if isinstance(message, Lost):
        return f"{message.count} messages of {message.topic} are gone for good"
    if isinstance(message, Command):
        said = " ".join(f"{name}={value}" for name, value in message.arguments.items())
        return f"{message.name} {said}".rstrip() + f"  [from {message.stamp.client or 'here'}]"
    if isinstance(message, Exemplar):
        return f"exemplar {message.id}: {message.instruction} -> {message.answer}"
    if isinstance(message, Health):
        return _pulse(message)
    return repr(message)


def _seen(answer: Answer) -> str:
    frames = f"{answer.frame_ids[0]}-{answer.frame_ids[-1]}" if answer.frame_ids else "none"
    marks = [name for name in ("late", "partial") if getattr(answer, name)]
    if not answer.journalled:
        marks.append("not journalled")
    return f"[frames {frames}, {answer.age_ms:.0f} ms old{''.join(', ' + mark for mark in marks)}]"


def _pulse(health: Health) -> str:
    age = "none yet" if health.frame_age_ms is None else f"{health.frame_age_ms:.0f} ms old"
    return (
        f"up {health.uptime_s:.0f} s, frame {age}, {health.frames_dropped} dropped, "
        f"{health.answers} answers, {health.abstained} abstained, {health.late} late"
        f"{', stopped' if health.stopped else ''}"
    )
