"""What drafts save: the clips' plans asked again and again, token by token and with drafts.

    python benchmarks/drafts.py                         the bundled pocket model
    python benchmarks/drafts.py --interval 0.25 --draft-tokens 3

Two step loops on the real clock see the same frames and are asked the same, one after the other at
each moment. Prints a table, then one JSON line; exit code 1 where an answer differs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from outcome import Report, tell

import otter_runtime
from otter_runtime.bundle import Bundle
from otter_runtime.clock import RealClock
from otter_runtime.engine import Cache, Engine, Floats, Media
from otter_runtime.frame import Frame, Stamp
from otter_runtime.labels import Labels
from otter_runtime.loop import StepLoop
from otter_runtime.onnx_engine import open_engine
from otter_runtime.sources import VideoFile
from otter_runtime.window import Sampler
from otter_runtime.wire import Ask, Said

POCKET = Path(otter_runtime.__file__).parent / "pocket"


class Counting:
    """An engine that counts how often tokens are put, and how many."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.steps = self.put = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def step(self, cache: Cache, token: int, media_index: int, media: Sequence[Media]) -> Floats:
        """As the engine's."""
        self._count(1)
        return self._engine.step(cache, token, media_index, media)

    def logits(
        self, cache: Cache, ids: Sequence[int], media_index: Sequence[int], media: Sequence[Media]
    ) -> Floats:
        """As the engine's."""
        self._count(len(ids))
        return self._engine.logits(cache, ids, media_index, media)

    def _count(self, tokens: int) -> None:
        self.steps += 1
        self.put += tokens


class Planner:
    """A step loop that is shown frames and asked for plans."""

    def __init__(self, bundle: Bundle, threads: int, draft_tokens: int) -> None:
        self.engine = Counting(open_engine(bundle, threads))
        self.loop = StepLoop(
            self.engine,
            bundle.manifest,
            bundle.tokenizer(),
            RealClock(),
            draft_tokens=draft_tokens,
        )
        self.decode_ms: list[float] = []

    def show(self, frame: Frame) -> None:
        """Encode a frame."""
        self.loop.show(frame)
        while not self.loop.idle:
            self.loop.step()

    def plan(self, instruction: str) -> str:
        """The answer; its decoding is timed."""
        self.loop.ask(Ask(id="plan", text=instruction, standing=True))
        while True:
            for event in self.loop.step():
                if isinstance(event, Said):
                    timing = event.timing
                    begun = timing.get("first_token_ms", 0.0)
                    self.decode_ms.append(timing["total_ms"] - begun)
                    return event.text


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print; 1 where drafts change an answer, 2 where there is no such bundle."""
    options = _parser().parse_args(arguments)
    return tell(
        lambda: measure(options),
        table,
        lambda report: bool(report["equal"]),
        json_alone=options.json,
    )


def measure(options: argparse.Namespace) -> Report:
    """Both ways on all clips."""
    bundle = Bundle.load(options.bundle)
    plain, drafted = (Planner(bundle, options.threads, n) for n in (0, options.draft_tokens))
    answers: list[tuple[str, str]] = []
    for frame, instruction in moments(options.clip, bundle.manifest.window.rate_hz):
        for planner in (plain, drafted):
            planner.show(frame)
        if (
            frame.stamp.index % max(1, round(options.interval * bundle.manifest.window.rate_hz))
            == 0
        ):
            answers.append((plain.plan(instruction), drafted.plan(instruction)))
    tokens = plain.engine.put  # each of them put alone
    ways = {"token by token": plain, "with drafts": drafted}
    medians = {name: float(np.median(way.decode_ms)) for name, way in ways.items()}
    return {
        "bundle": bundle.manifest.name,
        "draft_tokens": options.draft_tokens,
        "answers": len(answers),
        "equal": all(one == other for one, other in answers),
        "tokens_per_step": round(tokens / drafted.engine.steps, 2),
        "put_per_step": round(drafted.engine.put / drafted.engine.steps, 2),
        "decode_ms": {name: round(value, 3) for name, value in medians.items()},
        "times_as_fast": round(medians["token by token"] / medians["with drafts"], 2),
    }


def moments(folder: Path, rate_hz: float) -> Iterator[tuple[Frame, str]]:
    """The frames that a window takes of each clip, numbered, and the clip's instruction."""
    for scene, clip in enumerate(Labels.load(folder).clips):
        sampler, index = Sampler(rate_hz), 0
        for number, pixels in enumerate(VideoFile(folder / clip.file).pictures()):
            stamp = Stamp(
                id=number,
                scene=scene,
                source=clip.file,
                index=index,
                stream_ns=round(number * 1e9 / clip.rate_hz),
                mono_ns=0,
                wall_ns=0,
            )
            if pixels is not None and sampler.wants(stamp):
                index += 1
                yield Frame(stamp, pixels), clip.instruction


def table(report: Report) -> str:
    """The report for people."""
    rows = [f"{name:16}{value:10.2f} ms an answer" for name, value in report["decode_ms"].items()]
    same = "the same" if report["equal"] else "DIFFERENT"
    return "\n".join(
        [
            *rows,
            f"{report['answers']} answers, {same}; {report['tokens_per_step']} tokens a step, "
            f"{report['put_per_step']} tried; {report['times_as_fast']} times as fast",
        ]
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--bundle", type=Path, default=POCKET / "bundle-int8")
    parser.add_argument("--clip", type=Path, default=POCKET / "clip", help="clips with labels.json")
    parser.add_argument("--interval", type=float, default=1.0, help="seconds between two plans")
    parser.add_argument("--draft-tokens", type=int, default=7, help="at most (default 7)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="the JSON line alone")
    return parser


if __name__ == "__main__":
    sys.exit(main())
