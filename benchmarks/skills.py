"""An answer among skills, on the pocket Otter: accuracy, calibration, abstention and cost.

    python benchmarks/skills.py --episodes 300 --seed 1 --json

A temperature is fitted on the calibration seeds and tested on evaluation seeds, which nothing was
fitted or steered by. Every class is asked equally often. Prints tables, then one JSON line.
`--write` puts the temperature into the bundle's manifest.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import reliability
from numpy.typing import NDArray

from otter_robots.skill import CANT_SEE, NO_ACTION, Offer
from otter_runtime.bundle import MANIFEST, Bundle, SkillScoring, write_manifest
from otter_runtime.errors import OtterError
from otter_runtime.percentile import percentile
from otter_tuning.pocket.cases import Case, planning_cases
from otter_tuning.pocket.data import render
from otter_tuning.pocket.evaluate import Answerer, another, blank
from otter_tuning.pocket.kinds import KINDS, SEEDS, evaluation_seeds
from otter_tuning.pocket.skills import SKILL_OF, offer

BUNDLE = Path(__file__).resolve().parents[1] / "runtime/otter_runtime/pocket/bundle-int8"
NAMES = (*dict.fromkeys(SKILL_OF.values()), NO_ACTION, CANT_SEE)
THRESHOLDS = (0.0, 0.5, 0.7, 0.9, 0.95, 0.99)
UNKNOWN = "sofa"  # no such thing in its world
View = Callable[[Case], tuple[int, Sequence[int]]]


@dataclass(frozen=True)
class Weighed:
    """Cases and what every sentence was given: n cases, A sentences."""

    scores: NDArray[np.float64]  # (n, A) log likelihoods
    tokens: NDArray[np.int64]  # (n, A)
    groups: tuple[int, ...]  # the skill of each sentence, an index of NAMES
    right: NDArray[np.int64]  # (n,) index of NAMES
    clear: NDArray[np.bool_]  # (n,) whether nothing else is defensible

    def probabilities(self, temperature: float, per_token: bool = False) -> reliability.Floats:
        """(n, skills)"""
        return reliability.shares(self._scores(per_token), self.groups, temperature)

    def temperature(self, per_token: bool = False) -> float:
        """Fitted to these cases."""
        return reliability.fit_temperature(self._scores(per_token), self.groups, self.right)

    def only_clear(self) -> Weighed:
        """The clear cases of them."""
        kept = self.clear
        return replace(
            self,
            scores=self.scores[kept],
            tokens=self.tokens[kept],
            right=self.right[kept],
            clear=self.clear[kept],
        )

    def _scores(self, per_token: bool) -> NDArray[np.float64]:
        return self.scores / self.tokens if per_token else self.scores


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--bundle", type=Path, default=BUNDLE)
    parser.add_argument("--episodes", type=int, default=300, help="for the test; half to fit")
    parser.add_argument("--seed", type=int, default=0, help="which stretch of evaluation seeds")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--write", action="store_true", help="temperature into the manifest")
    parser.add_argument("--json", action="store_true", help="only the JSON line")
    args = parser.parse_args(argv)
    try:
        row = measure(args, say=lambda line: print(line, file=sys.stderr, flush=True))
    except OtterError as error:
        print(error, file=sys.stderr)
        return 2
    if not args.json:
        print_tables(row)
    print(json.dumps(row))
    return 0


def measure(args: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """The row of figures."""
    bundle = Bundle.load(args.bundle)
    say(f"rendering {args.episodes // 2} episodes to fit by")
    held_out = SEEDS["calibration"][50_000 : 50_000 + max(1, args.episodes // 2)]
    episodes = render(held_out, jpeg=False)
    answerer = Answerer(bundle, episodes, args.threads)
    half = planning_cases(episodes, args.episodes // 2, args.seed, clear_only=False)
    fitted = weigh(answerer, half)
    say(f"rendering {args.episodes} episodes to test by")
    episodes = render(evaluation_seeds(args.seed, args.episodes), jpeg=False)
    answerer = Answerer(bundle, episodes, args.threads)
    cases = planning_cases(episodes, args.episodes, args.seed, clear_only=False)
    tested = weigh(answerer, cases)
    say(f"{len(cases)} cases weighed; controls")
    temperature = fitted.temperature()
    row: dict[str, Any] = {
        "temperature": temperature,
        "temperature_per_token": fitted.temperature(per_token=True),
        "all": figures(fitted, tested, temperature),
        "clear": figures(fitted, tested.only_clear(), temperature),
        **controls(answerer, cases, args.episodes, temperature),
        **cost(answerer, _some(cases, args.episodes)),
        "fit_cases": len(fitted.right),
        "episodes": args.episodes,
        "seed": args.seed,
        "model_hash": bundle.model_hash,
    }
    if args.write:
        write(bundle, temperature)
    return row


def weigh(answerer: Answerer, cases: Sequence[Case], view: View | None = None) -> Weighed:
    """Score every sentence for every case."""
    ordered = sorted(cases, key=lambda case: (case.episode, case.frames))
    scores, tokens = [], []
    groups: tuple[int, ...] = ()
    for case in ordered:
        episode, frames = (case.episode, case.frames) if view is None else view(case)
        scored = answerer.deliberate(case.question, episode, frames, offer(thing(case))).scored
        scores.append([one.log_likelihood for one in scored])
        tokens.append([one.tokens for one in scored])
        groups = tuple(NAMES.index(one.skill.name) for one in scored)
    right = [NAMES.index(SKILL_OF[case.label]) for case in ordered]
    clear = [case.clear for case in ordered]
    return Weighed(np.array(scores), np.array(tokens), groups, np.array(right), np.array(clear))


def _some(cases: Sequence[Case], count: int) -> Sequence[Case]:
    """Every so many-th of them, so that every class is there."""
    return cases[:: max(1, len(cases) // count)][:count]


def thing(case: Case) -> str:
    """What the case is about."""
    return next((kind for kind in KINDS if kind in case.question), UNKNOWN)


def figures(fitted: Weighed, tested: Weighed, temperature: float) -> dict[str, Any]:
    """Accuracy and calibration on the tested cases, before and after the temperature."""
    raw, cool = tested.probabilities(1.0), tested.probabilities(temperature)
    normal = tested.probabilities(fitted.temperature(per_token=True), per_token=True)
    right = tested.right
    return {
        "accuracy_ranked": float((cool.argmax(1) == right).mean()),
        "accuracy_per_token": float((normal.argmax(1) == right).mean()),
        "cases": len(right),
        "nll_raw": reliability.nll(raw, right),
        "nll": reliability.nll(cool, right),
        "nll_per_token": reliability.nll(normal, right),
        "ece_raw": reliability.ece(raw, right),
        "ece": reliability.ece(cool, right),
        "ece_per_token": reliability.ece(normal, right),
        "brier_raw": reliability.brier(raw, right),
        "brier": reliability.brier(cool, right),
        "brier_per_token": reliability.brier(normal, right),
        "likelihood_no_action": float(cool[:, NAMES.index(NO_ACTION)].mean()),
        "likelihood_cant_see": float(cool[:, NAMES.index(CANT_SEE)].mean()),
        "reliability": [asdict(one) for one in reliability.reliability(cool, right)],
        "abstention": reliability.abstention(cool, right, THRESHOLDS),
    }


def controls(
    answerer: Answerer, cases: Sequence[Case], episodes: int, temperature: float
) -> dict[str, Any]:
    """How sure it is where it cannot know: blank frames, another episode, a thing unheard of."""
    some = _some(cases, episodes)
    strange = [_about_unknown(case) for case in some]
    views: dict[str, tuple[Sequence[Case], View | None]] = {
        "blank": (some, blank),
        "another_episode": (some, another(episodes)),
        "unknown_thing": (strange, None),
    }
    row: dict[str, Any] = {}
    for name, (asked, view) in views.items():
        held = weigh(answerer, asked, view).probabilities(temperature)
        first = held.argmax(1)
        row[name] = {
            "confidence": float(held.max(1).mean()),
            **{skill: float((first == at).mean()) for at, skill in enumerate(NAMES)},
            **{f"answered_at_{at:g}": float((held.max(1) >= at).mean()) for at in THRESHOLDS[1:]},
        }
    return row


def _about_unknown(case: Case) -> Case:
    return replace(case, question=case.question.replace(thing(case), UNKNOWN))


def cost(answerer: Answerer, cases: Sequence[Case]) -> dict[str, Any]:
    """Milliseconds (p50) of an answer whose frames are known, and how often it is right."""
    ways: dict[str, Callable[[Case], bool]] = {
        "free": lambda case: case.right(answerer.answer(case.question, case.episode, case.frames)),
        "decoded": lambda case: _chosen(answerer, case, rank=False) == SKILL_OF[case.label],
        "ranked": lambda case: _chosen(answerer, case, rank=True) == SKILL_OF[case.label],
    }
    right: dict[str, list[bool]] = {name: [] for name in ways}
    took: dict[str, list[float]] = {name: [] for name in ways}
    for case in sorted(cases, key=lambda case: (case.episode, case.frames)):
        answerer.answer(case.question, case.episode, case.frames)  # from now on frames are known
        for name, way in ways.items():
            begun_s = time.perf_counter()
            right[name].append(way(case))
            took[name].append(1000 * (time.perf_counter() - begun_s))
    return {
        **{f"accuracy_{name}_of_timed": float(np.mean(hits)) for name, hits in right.items()},
        **{f"answer_ms_{name}": percentile(ms, 50) for name, ms in took.items()},
        "timed": len(cases),
    }


def _chosen(answerer: Answerer, case: Case, rank: bool) -> str:
    among: Offer = offer(thing(case), rank)
    return answerer.deliberate(case.question, case.episode, case.frames, among).choices[0].skill


def write(bundle: Bundle, temperature: float) -> None:
    """Put the temperature into the bundle's manifest."""
    scoring = SkillScoring(temperature=round(temperature, 4))
    write_manifest(bundle.path / MANIFEST, msgspec.structs.replace(bundle.manifest, skills=scoring))


def print_tables(row: dict[str, Any], indent: str = "") -> None:
    """Figures one a line; what is inside another is indented."""
    for name, value in row.items():
        if isinstance(value, dict):
            print(f"{indent}{name}")
            print_tables(value, indent + "  ")
        elif isinstance(value, list):
            print(f"{indent}{name}")
            for line in value:
                cells = (f"{key} {_shown(one)}" for key, one in line.items())
                print(f"{indent}  {'  '.join(cells)}")
        else:
            print(f"{indent}{name:32} {_shown(value)}")


def _shown(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
