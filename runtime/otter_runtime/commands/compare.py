"""`otter-edge compare`: is the new build worse than the old one, on footage of one's own?"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from otter_robots.interrupt import interruptible

if TYPE_CHECKING:
    from otter_runtime.compare.gate import Gate
    from otter_runtime.compare.pairing import Pairing
    from otter_runtime.compare.truth import Judge
    from otter_runtime.compare.votes import VoteFile
    from otter_runtime.trials.trial import Trial

VOTES = Path("votes.jsonl")
PAGE_SIDE, BOOTH_SIDE = 320, 640  # pixels of a picture, at most


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("trial", nargs="+", metavar="TRIAL", type=Path, help="one to be replayed, or two")
    add("--a", type=Path, metavar="BUNDLE", help="the old model (default: as it was recorded)")
    add("--b", type=Path, metavar="BUNDLE", help="the new model")
    add("--timed", action="store_true", help="each sees what it would have had the time for")
    add("--labels", type=Path, metavar="DIR", help="clips with their labels.json: what is right")
    add("--expect", type=Path, metavar="FILE", help="expected answers, JSON lines")
    add("--votes", type=Path, metavar="FILE", help="votes of --rate (there: votes.jsonl)")
    add("--rate", action="store_true", help="rate the answers that differ in a page, blindly")
    add("--port", type=int, default=0, metavar="N", help="where that page is (default: any)")
    _add_gate(parser)
    add("--html", type=Path, metavar="FILE", help="write one page that can be read offline")
    add("--json", action="store_true", help="print one JSON object")


def _add_gate(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("what is worse (exit code 3); shares are 0 to 1").add_argument
    add("--min-agreement", type=float, metavar="X", help="answers that say the same")
    add("--max-drop", type=float, metavar="X", help="how far the score may drop (default: 0)")
    add("--max-abstain", type=float, metavar="X", help="how far abstentions may rise (default: 0)")
    add("--max-slower", type=float, metavar="X", help="how much longer the median answer may take")
    add("--min-pairs", type=int, metavar="N", help="questions that both have to have (default: 1)")


def run(args: argparse.Namespace) -> int:
    """Compare; 0 for no difference or one that is allowed, 3 for worse. Raises OtterError."""
    from otter_runtime.compare.album import albums
    from otter_runtime.compare.comparison import compared
    from otter_runtime.compare.gate import WORSE, findings, verdict
    from otter_runtime.compare.page import Page, wanted
    from otter_runtime.compare.row import rows
    from otter_runtime.compare.summary import as_json, lines
    from otter_runtime.compare.votes import preferences

    # What the user got wrong is said now, not after minutes of replay.
    gate, judge, votes = _gate(args), _judge(args), _votes(args)
    if args.html:
        _write(args.html, "", "a")
    pairing, trials = _paired(args)
    if votes and args.rate:
        _rate(pairing, trials, votes, args.port)
    comparison = compared(pairing, judge, preferences(pairing, votes) if votes else ())
    found = findings(comparison, gate)
    said, shown = verdict(comparison, found), rows(pairing.pairs, judge)
    if args.html:
        pictures = albums(trials, wanted(pairing.pairs), PAGE_SIDE)
        _write(args.html, Page(comparison, said, found, shown, pictures).html())
    if args.json:
        print(json.dumps(as_json(comparison, found, said, shown)))
    else:
        print("\n".join(lines(comparison, found, said)))
    return WORSE if said == "worse" else 0


def _gate(args: argparse.Namespace) -> Gate:
    import msgspec

    from otter_runtime.compare.gate import Gate
    from otter_runtime.errors import UserError

    given = {name: getattr(args, name) for name in Gate.__struct_fields__}
    try:
        return msgspec.convert({k: v for k, v in given.items() if v is not None}, Gate)
    except msgspec.ValidationError as error:
        raise UserError(f"what is worse cannot be told by that ({error})") from error


def _paired(args: argparse.Namespace) -> tuple[Pairing, tuple[Trial, Trial]]:
    """The runs' questions side by side, and the trial that each run has its frames from."""
    from otter_runtime.compare.pairing import across_trials, paired_up, within_a_trial
    from otter_runtime.compare.playing import recorded, replayed
    from otter_runtime.errors import UserError
    from otter_runtime.progress_bar import Bar
    from otter_runtime.trials.trial import Trial

    trials = [Trial(path) for path in args.trial]
    if len(trials) == 2 and not (args.a or args.b):
        pairing = paired_up(recorded(trials[0]), recorded(trials[1]), across_trials)
        return pairing, (trials[0], trials[1])
    if len(trials) != 1 or not args.b:
        raise UserError("give one trial and --b BUNDLE, maybe --a BUNDLE as well, or two trials")
    (trial,) = trials
    with Bar(args.json) as bar:
        seen = not args.timed
        a = replayed(trial, args.a, seen, bar)[0] if args.a else recorded(trial)
        b, lacking = replayed(trial, args.b, seen, bar)
    if lacking:
        print(f"otter-edge: {lacking}", file=sys.stderr)
    return paired_up(a, b, within_a_trial), (trial, trial)


def _write(path: Path, page: str, mode: str = "w") -> None:
    from otter_runtime.errors import UserError

    try:
        with path.open(mode, encoding="utf-8") as file:
            file.write(page)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}); give another") from error


def _judge(args: argparse.Namespace) -> Judge | None:
    from otter_runtime.compare.truth import either, expected, labelled

    judges = [expected(args.expect)] if args.expect else []
    judges += [labelled(args.labels)] if args.labels else []
    return either(judges) if judges else None


def _votes(args: argparse.Namespace) -> VoteFile | None:
    from otter_runtime.compare.votes import VoteFile

    if args.rate:
        return VoteFile(args.votes or VOTES, writing=True)
    return VoteFile(args.votes) if args.votes else None


def _rate(pairing: Pairing, trials: tuple[Trial, Trial], votes: VoteFile, port: int) -> None:
    """Until somebody has rated all, or had enough of it: the votes are kept either way."""
    from otter_runtime.compare.album import albums
    from otter_runtime.compare.ballot import Ballots, differing, frames
    from otter_runtime.compare.booth import Booth

    pairs = differing(pairing)
    if not pairs:
        print("both say the same everywhere: there is nothing to rate", file=sys.stderr)
        return
    ballots = Ballots(pairing, albums(trials, frames(pairs), BOOTH_SIDE), votes)
    booth = Booth(ballots, port)
    interruptible()
    print(f"rate at {booth.url}; Ctrl-C ends it, and the same again goes on", file=sys.stderr)
    try:
        while not booth.finished.wait(0.5):
            pass
    except KeyboardInterrupt:
        print(f"\n{ballots.rated} of {len(pairs)} are rated", file=sys.stderr)
    finally:
        booth.close()
        votes.close()
