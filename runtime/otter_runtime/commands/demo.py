"""`otter-edge demo`: a real run on recorded clips, heard and judged by a process of its own.

This process only subscribes, as a robot would: cameras, model and bus are `otter-edge run` in
others. It knows the truth of the clips, which they do not.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from otter_robots.envelope import Envelope
    from otter_robots.messages import Answer
    from otter_runtime.labels import Labels, Verdict
    from otter_runtime.stage import Heard

CLIP = Path(__file__).parents[1] / "pocket" / "clip"
GOAL = 0.9  # share of answers that must be right
LONGEST_S = 40.0  # longer clips are played faster


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("--fast", action="store_true", help="see every frame, as quickly as it is answered")
    add("--interval", type=float, default=1.0, metavar="S", help="seconds between two plans")
    add("--bundle", metavar="DIR", help="the model (default: the pocket model, int8)")
    add("--clip", type=Path, default=CLIP, metavar="DIR", help="clips with their labels.json")
    add("--picture", type=Path, metavar="FILE", help="save a sheet of frames and answers (PNG)")
    add("--json", action="store_true", help="print one JSON object per line, last the summary")


def run(args: argparse.Namespace) -> int:
    """Play the clips and judge what comes; 1 where less than 90 % is right."""
    from otter_robots.interrupt import interruptible
    from otter_runtime.labels import Labels
    from otter_runtime.stage import heard

    interruptible()  # the run that was started ends, too
    labels = Labels.load(args.clip)
    board = Board(labels, args.json)
    for item in heard(_command(args, labels)):
        board.take(item)
    if args.picture:
        from otter_runtime.sheet import save

        save(args.picture, args.clip, board.judged)
    return board.finish()


def _command(args: argparse.Namespace, labels: Labels) -> list[str]:
    words = ["--source", *(str(args.clip / clip.file) for clip in labels.clips)]
    for clip in labels.clips:
        words += ["--instruction", clip.instruction]
    words += ["--interval", str(args.interval)]
    if args.bundle:
        words += ["--bundle", args.bundle]
    if args.fast:
        return [*words, "--fast"]
    return [*words, "--speed", str(max(1.0, labels.seconds / LONGEST_S))]


class Board:
    """Prints each answer with its verdict as it comes, and the sum of them at the end."""

    def __init__(self, labels: Labels, as_json: bool) -> None:
        self.labels, self.as_json = labels, as_json
        self.judged: list[tuple[Answer, Verdict]] = []
        self._travelled_ms: list[float] = []
        self._source = ""
        self._colour = sys.stdout.isatty() and not as_json
        if not as_json:
            print(
                f"{len(labels.clips)} clips, {labels.seconds:.0f} s. A process reads them, one "
                "answers, and this one hears the answers over ZeroMQ.",
                flush=True,
            )

    def take(self, item: Heard) -> None:
        """One message as it was received."""
        from otter_robots.messages import Abstain, Answer, Fault
        from otter_robots.terminal import printable

        envelope, message = item
        if isinstance(message, Answer):
            self._travelled_ms.append((time.monotonic_ns() - envelope.mono_ns) / 1e6)
            self._answer(envelope, message)
        elif isinstance(message, (Abstain, Fault)) and not self.as_json:
            print(f"    {type(message).__name__.lower()}: {printable(message.detail)}", flush=True)

    def _answer(self, envelope: Envelope, answer: Answer) -> None:
        from otter_robots.terminal import printable

        verdict = self.labels.judge(answer)
        self.judged.append((answer, verdict))
        if self.as_json:
            print(json.dumps(_row(envelope, answer, verdict)), flush=True)
            return
        if answer.source != self._source:
            self._source = answer.source
            print("\n" + printable(f"{answer.source}: {answer.instruction}"), flush=True)
        print(self._line(answer, verdict), flush=True)

    def _line(self, answer: Answer, verdict: Verdict) -> str:
        from otter_robots.terminal import printable
        from otter_runtime.answers import frames_of

        mark, colour = ("✓", 32) if verdict.correct else ("✗", 31)
        if self._colour:
            mark = f"\x1b[{colour}m{mark}\x1b[0m"
        frames, text = f"frames {frames_of(answer)}", printable(answer.text)
        right = "" if verdict.correct else f"  (right: {verdict.truth.action})"
        late = "  LATE" if answer.late else ""
        return f"  {mark} {frames:<15} {answer.age_ms:5.0f} ms old  {text}{right}{late}"

    def finish(self) -> int:
        """Print the summary; the exit code."""
        summary = self.summary()
        if self.as_json:
            print(json.dumps({"summary": summary}), flush=True)
        else:
            print(f"\n{_sentence(summary)}", flush=True)
        enough = summary["answers"] > 0 and summary["correct"] >= GOAL * summary["answers"]
        return 0 if enough else 1

    def summary(self) -> dict[str, Any]:
        """Counts, and the spread of milliseconds: age at publish, model time, way over the bus."""
        from otter_runtime.percentile import spread

        clear = [verdict for _, verdict in self.judged if verdict.truth.clear]
        return {
            "answers": len(self.judged),
            "correct": sum(verdict.correct for _, verdict in self.judged),
            "clear": len(clear),
            "clear_correct": sum(verdict.correct for verdict in clear),
            "late": sum(answer.late for answer, _ in self.judged),
            "age_ms": spread([answer.age_ms for answer, _ in self.judged]),
            "answer_ms": spread([answer.timing.get("total_ms", 0) for answer, _ in self.judged]),
            "bus_ms": spread(self._travelled_ms),
            "model_hash": self.judged[-1][0].model_hash if self.judged else "",
        }


def _row(envelope: Envelope, answer: Answer, verdict: Verdict) -> dict[str, Any]:
    return {
        "answer": answer.text,
        "instruction": answer.instruction,
        "correct": verdict.correct,
        "right": verdict.truth.action,
        "clear": verdict.truth.clear,
        "source": answer.source,
        "source_index": answer.source_index,
        "frame_ids": list(answer.frame_ids),
        "age_ms": round(answer.age_ms, 3),
        "ttl_ms": answer.ttl_ms,
        "late": answer.late,
        "epoch": envelope.epoch,
        "seq": envelope.seq,
        "timing": answer.timing,
    }


def _sentence(summary: dict[str, Any]) -> str:
    answers, correct = summary["answers"], summary["correct"]
    share = 100 * correct / answers if answers else 0.0
    age, model, bus = summary["age_ms"], summary["answer_ms"], summary["bus_ms"]
    return (
        f"{answers} answers, {correct} right ({share:.1f} %), {summary['late']} late\n"
        f"age at publish  p50 {age['p50']:6.1f}  p95 {age['p95']:6.1f}  p99 {age['p99']:6.1f} ms\n"
        f"ask to answer   p50 {model['p50']:6.1f}  p95 {model['p95']:6.1f}  "
        f"p99 {model['p99']:6.1f} ms\n"
        f"over the bus    p50 {bus['p50']:6.1f}  p95 {bus['p95']:6.1f}  p99 {bus['p99']:6.1f} ms"
    )
