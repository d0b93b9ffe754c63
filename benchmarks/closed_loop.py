"""Whether a robot that does what the pocket Otter says fetches what it is sent for.

    python benchmarks/closed_loop.py --episodes 200 --seed 1 --json

`otter-edge run` (two processes) and the gymnasium adapter (a third) talk over the real bus; the
adapter's robot is in a MiniWorld room nobody has seen, and pushes what it sees. The simulator's own
pickup decides. In the same rooms, with the same body: an oracle that knows where everything is, and
chance. An episode in which the assistant abstains, or says that it can't see what it is looking at,
has failed, whatever it picks up later.

Memory episodes show the target and then turn the robot away from it; the same assistant with a
window of one frame has to do worse there. Prints a table, then one flat JSON line.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from otter_robots import settings
from otter_robots.adapters.gymnasium.body import Body
from otter_robots.adapters.gymnasium.config import Config
from otter_robots.errors import OtterError, UserError
from otter_runtime.stage import running
from otter_tuning.pocket.kinds import evaluation_seeds
from otter_tuning.pocket.questions import AHEAD_DEG, SEEN_PX, STOP_M

CONFIG = Path(sys.modules[Body.__module__].__file__ or "").with_name("config.yaml")
RUN = Path(__file__).parents[1] / "configs" / "devices" / "simulator.yaml"
OFFSET = 600_000  # beyond what the other benchmarks render of a stretch of evaluation seeds
PATIENCE_S = 60.0  # until the bus is there
MOVES = ("turn_left", "turn_right", "go_forward", "stop")
Say = Callable[[str], None]
Choose = Callable[[Body], str]


@dataclass
class Episode:
    """What came of one; `steps` are of the environment, answers as the adapter told them."""

    seed: int
    picked_up: bool
    steps: int
    wrong_pickups: int
    answers: list[dict[str, Any]] = field(default_factory=list)

    @property
    def success(self) -> bool:
        """Picked up, and at no moment was the target overlooked."""
        return self.picked_up and not any(map(overlooked, self.answers))


def in_view(answer: dict[str, Any]) -> bool:
    """Whether the frame it is about shows the target, by the simulator's word."""
    return bool(answer["info"]["pixels"] >= SEEN_PX)


def abstains(answer: dict[str, Any]) -> bool:
    """Whether it is no answer, or says that the target is nowhere to be seen."""
    return "abstained" in answer or answer.get("skill") in ("look_around", "cant_see")


def overlooked(answer: dict[str, Any]) -> bool:
    """An abstention with the target in view."""
    return abstains(answer) and in_view(answer)


# The players.


def oracle(body: Body) -> str:
    """What the model was taught to say, by somebody who sees through everything."""
    room = body.env.room
    view, kind = room.look(), room.target[0]
    if abs(view.bearing_deg[kind]) > AHEAD_DEG:
        return "turn_left" if view.bearing_deg[kind] > 0 else "turn_right"
    return "stop" if view.distance_m[kind] < STOP_M else "go_forward"


def chance(seed: int) -> Choose:
    """Any of the moves, reaching included, a wrong one costing nothing but its steps."""
    random = np.random.default_rng(seed)
    return lambda body: MOVES[random.integers(len(MOVES))]


def play(memory: bool, seeds: range, seed: int | None) -> list[Episode]:
    """The oracle's episodes, or those of chance from `seed`; in a process of its own."""
    body = Body(config(memory))
    choose = oracle if seed is None else chance(seed)
    episodes = []
    for number in seeds:
        sight = body.begin(number)
        while not body.sight.over:
            for sight in body.carry_out(choose(body)):  # noqa: B007
                pass
        wrong = sight.info["wrong_pickups"]
        episodes.append(Episode(number, sight.reward > 0, sight.number, wrong))
    body.close()
    return episodes


def assist(
    args: argparse.Namespace, memory: bool, seeds: range, frames: int | None
) -> list[Episode]:
    """The assistant's episodes, with a window of so many `frames`, over the bus."""
    with tempfile.TemporaryDirectory(prefix="otter-") as name:
        folder = Path(name)
        run, robot = folder / "run.json", folder / "robot.json"  # JSON is YAML
        run.write_bytes(msgspec.json.encode(settings.load(RUN) | {"window": {"frames": frames}}))
        robot.write_bytes(msgspec.json.encode(config(memory, args.offer)))
        words = ["--config", str(run)]
        if args.bundle:
            words += ["--bundle", str(args.bundle)]
        if args.threads:
            words += ["--threads", str(args.threads)]
        with running(words, folder) as started:
            started.wait_for("bus", (folder / "requests").exists, PATIENCE_S)
            return list(_episodes(_adapter(folder, robot, seeds)))


def _adapter(folder: Path, robot: Path, seeds: range) -> Iterator[dict[str, Any]]:
    command = [sys.executable, "-m", "otter_robots.adapters.gymnasium", "--json"]
    command += ["--folder", str(folder), "--config", str(robot)]
    command += ["--episodes", str(len(seeds)), "--seed", str(seeds.start)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, env={**os.environ, "PYGLET_HEADLESS": "1"}
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            yield json.loads(line)
    if process.returncode:
        raise UserError(f"the adapter ended with {process.returncode}; see its sentence above")


def _episodes(events: Iterator[dict[str, Any]]) -> Iterator[Episode]:
    answers: list[dict[str, Any]] = []
    for event in events:
        if event["event"] == "step":
            answers.append(event)
        elif event["event"] == "episode":
            wrong = event["info"]["wrong_pickups"]
            yield Episode(event["seed"], event["reward"] > 0, event["steps"], wrong, answers)
            answers = []


def config(memory: bool, offer: bool = False) -> Config:
    """The example's configuration, with the memory episodes or without."""
    return settings.read(Config, CONFIG, {"kwargs": {"memory": memory}, "offer": offer})


# What is measured.


def measure(args: argparse.Namespace, say: Say) -> tuple[dict[str, object], list[Episode]]:
    """The flat row of figures, and the assistant's episodes."""
    began_s = time.monotonic()
    rooms = evaluation_seeds(args.seed, args.episodes, OFFSET)
    memories = evaluation_seeds(args.seed, args.memory_episodes, OFFSET)
    # The baselines need no bus; they play meanwhile.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as beside:
        know, guess = (beside.submit(play, False, rooms, seed) for seed in (None, args.seed))
        recall = beside.submit(play, True, memories, None)
        acted = _told(say, "assistant", assist(args, False, rooms, None))
        remembered = _told(say, "memory", assist(args, True, memories, None))
        forgot = _told(say, "memory, last frame only", assist(args, True, memories, 1))
        known, guessed = know.result(), guess.result()
        recalled = recall.result()
    answers = [answer for episode in acted for answer in episode.answers]
    both = [
        (a.steps, o.steps) for a, o in zip(acted, known, strict=True) if a.success and o.success
    ]
    success, best = share(acted), share(known)
    row = {
        "success": success,
        "oracle_success": best,
        "random_success": share(guessed),
        "success_of_oracle": success / best if best else math.nan,
        "picked_up": sum(episode.picked_up for episode in acted) / len(acted),
        "steps": mean([steps for steps, _ in both]),
        "oracle_steps": mean([steps for _, steps in both]),
        "answers": len(answers),
        "abstained": sum(map(abstains, answers)) / len(answers),
        "overlooked": sum(map(overlooked, answers)) / max(1, sum(map(in_view, answers))),
        "refused": sum("refused" in answer for answer in answers),
        "wrong_pickups": sum(episode.wrong_pickups > 0 for episode in acted),
        "memory_success": share(remembered),
        "memory_oracle_success": share(recalled),
        "memory_last_frame_success": share(forgot),
        "episodes": len(acted),
        "memory_episodes": len(remembered),
        "seed": args.seed,
        "seconds": round(time.monotonic() - began_s, 1),
    }
    return row, acted


def share(episodes: Sequence[Episode]) -> float:
    """Of episodes that were a success."""
    return sum(episode.success for episode in episodes) / len(episodes)


def mean(values: Sequence[float]) -> float:
    """NaN of nothing."""
    return sum(values) / len(values) if values else math.nan


def _told(say: Say, name: str, episodes: list[Episode]) -> list[Episode]:
    say(f"{name:24} {share(episodes):6.1%} of {len(episodes)}")
    return episodes


# What is shown.


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--episodes", type=int, default=200, help="default: 200")
    parser.add_argument("--memory-episodes", type=int, help="default: a third as many")
    parser.add_argument("--seed", type=int, default=0, help="which stretch of evaluation seeds")
    parser.add_argument("--bundle", type=Path, help="default: the packaged pocket model")
    parser.add_argument("--threads", type=int, help="of the engines")
    parser.add_argument("--offer", action="store_true", help="answers bound to the skills' grammar")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="save an episode (PNG)")
    parser.add_argument("--json", action="store_true", help="only the JSON line")
    args = parser.parse_args(argv)
    args.memory_episodes = args.memory_episodes or max(1, args.episodes // 3)
    try:
        row, acted = measure(args, say=lambda line: print(line, file=sys.stderr, flush=True))
        if args.picture:
            from closed_loop_picture import save

            save(args.picture, Body(config(False)), acted)
    except OtterError as error:
        print(error, file=sys.stderr)
        return 2
    if not args.json:
        for name, value in row.items():
            print(
                f"{name:28} {value:10.3f}" if isinstance(value, float) else f"{name:28} {value:>10}"
            )
    print(json.dumps({k: None if v != v else v for k, v in row.items()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
