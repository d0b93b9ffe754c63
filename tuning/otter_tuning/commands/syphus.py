"""`otter-edge syphus`: instruction data from annotations, through a language model."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from otter_tuning.syphus.calls import Journal, Price
    from otter_tuning.syphus.model import Model
    from otter_tuning.syphus.pipeline import Outcome
    from otter_tuning.syphus.queries import Query
    from otter_tuning.syphus.task import Task

ABOUT = "instruction data from annotations, through a language model"
JOURNAL, REJECTED, COSTS = "calls.sqlite", "rejected.jsonl", "costs.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    acts = parser.add_subparsers(dest="act", required=True, metavar="ACT")
    run = acts.add_parser("run", help="ask, filter, translate, and write MIMIC-IT")
    estimate = acts.add_parser("estimate", help="what a run will cost, after a few real calls")
    cold = acts.add_parser("cold-start", help="find a task's first examples")
    for act in (run, estimate, cold):
        act.add_argument("task", help="DC, TVC, SD, CGD, VST, SN, E4D, OWN, or a task's .json file")
        act.add_argument("annotations", type=Path, help="the source's annotations")
        act.add_argument("-o", "--out", type=Path, required=True, help="a folder (calls, results)")
        _endpoint(act)
        act.add_argument("--limit", type=int, metavar="N", help="the first N queries only")
        act.add_argument("--json", action="store_true", help="one JSON object")
    for act in (run, estimate):
        act.add_argument(
            "--languages", default="", metavar="LIST", help="of zh,ja,es,de,fr,ko,ar, or all"
        )
    run.add_argument("--images", type=Path, help="a store or file of the pictures, for their ids")
    estimate.add_argument("--pilot", type=int, default=8, help="queries to ask about (default 8)")
    cold.add_argument("--examples", type=int, default=2, help="how many (default 2)")
    cold.add_argument("--score", type=float, default=0.8, help="good enough, 0..1 (default 0.8)")
    cold.add_argument("--most-calls", type=int, default=40, help="give up after (default 40)")


def _endpoint(act: argparse.ArgumentParser) -> None:
    where = act.add_argument_group("the language model")
    where.add_argument("--endpoint", metavar="URL", help="OpenAI-compatible (default: OpenAI's)")
    where.add_argument("--model", default="gpt-4o-mini")
    where.add_argument("--key-from", default="OPENAI_API_KEY", metavar="VARIABLE")
    where.add_argument("--concurrency", type=int, default=8, help="calls at once (default 8)")
    where.add_argument("--timeout-s", type=float, default=120.0)
    where.add_argument("--tries", type=int, default=8, help="per call (default 8)")
    where.add_argument(
        "--no-schema", action="store_true", help="for servers that know no response_format"
    )
    where.add_argument("--price-in", default="0", metavar="DOLLARS", help="a million tokens in")
    where.add_argument("--price-out", default="0", metavar="DOLLARS", help="a million tokens out")


def run(args: argparse.Namespace) -> int:
    """Do what was asked; exit code 1 where a cold start finds nothing good enough."""
    from otter_tuning.syphus.queries import read_queries
    from otter_tuning.syphus.task import read_task

    price = _price(args)
    task = read_task(args.task)
    queries = read_queries(task.annotations, args.annotations)[: args.limit]
    with _model(args) as model:
        acts = {"run": _run, "estimate": _estimate, "cold-start": _cold_start}
        told = acts[args.act](args, task, queries, model, price)
    print(json.dumps(told) if args.json else _text(told))
    return 0


@contextmanager
def _model(args: argparse.Namespace) -> Iterator[Model]:
    from otter_tuning.syphus.calls import Journal
    from otter_tuning.syphus.model import Endpoint, Model

    endpoint = Endpoint(
        base_url=args.endpoint,
        model=args.model,
        key_from=args.key_from,
        concurrency=args.concurrency,
        timeout_s=args.timeout_s,
        tries=args.tries,
        strict=not args.no_schema,
    )
    with Journal(args.out / JOURNAL) as journal:
        yield Model(endpoint, journal, os.environ.get(args.key_from))


def _run(
    args: argparse.Namespace, task: Task, queries: list[Query], model: Model, price: Price
) -> dict[str, Any]:
    from otter_tuning.syphus.assembly import assemble

    images = _images(args.images)  # before anything is paid for
    outcome = _asked(args, task, queries, model)
    made = assemble(task.name, outcome.accepted, images)
    path = args.out / f"{task.name}_instructions.json"
    made.write(path)
    _write_rejected(args.out / REJECTED, outcome)
    told = {
        "queries": len(queries),
        "pairs": len(made),
        "rejected": dict(outcome.reasons),
        "written": str(path),
        "calls": asdict(model.counters),
        **_spent(model.journal, price),
    }
    (args.out / COSTS).write_text(json.dumps(told, indent=1))
    return told


def _asked(args: argparse.Namespace, task: Task, queries: list[Query], model: Model) -> Outcome:
    from otter_runtime.progress_bar import Bar
    from otter_tuning.syphus.pipeline import Pipeline

    async def work() -> Outcome:
        try:
            with Bar(args.json) as bar:
                return await Pipeline(task, model, _languages(args.languages)).run(queries, bar)
        finally:
            await model.close()

    return asyncio.run(work())


def _estimate(
    args: argparse.Namespace, task: Task, queries: list[Query], model: Model, price: Price
) -> dict[str, Any]:
    from otter_tuning.syphus.calls import Journal
    from otter_tuning.syphus.estimate import estimate

    pilot = queries[:: max(1, len(queries) // max(args.pilot, 1))][: args.pilot]
    languages = len(_languages(args.languages))
    # A journal of the pilot's own: what other calls took says nothing about these queries.
    with Journal(args.out / "pilot.sqlite") as journal:
        own, model.journal = model.journal, _Both(journal, model.journal)  # type: ignore[assignment]
        if pilot:
            _asked(args, task, pilot, model)
        made = estimate(task, queries, languages, price, pilot, journal.totals())
        model.journal = own
    return {**asdict(made), "dollars": str(made.dollars)}


class _Both:
    """What is known to the second is taken from it; what is new is kept in both."""

    def __init__(self, first: Journal, second: Journal) -> None:
        self._first, self._second = first, second

    def reply(self, request: Any) -> Any:
        known = self._second.reply(request)
        if known is not None:
            self._first.keep(request, known)
        return known

    def keep(self, request: Any, reply: Any) -> None:
        self._second.keep(request, reply)
        self._first.keep(request, reply)


def _cold_start(
    args: argparse.Namespace, task: Task, queries: list[Query], model: Model, price: Price
) -> dict[str, Any]:
    from otter_runtime.progress_bar import Bar
    from otter_tuning.syphus.cold_start import cold_start
    from otter_tuning.syphus.task import write_task

    async def work() -> Any:
        wanted = (args.examples, args.score, args.most_calls)
        try:
            with Bar(args.json) as bar:
                return await cold_start(task, model, queries, *wanted, bar)
        finally:
            await model.close()

    made, best = asyncio.run(work())
    path = args.out / f"{task.name.lower()}.json"
    write_task(path, made)
    scores = [round(one.score, 3) for one in best]
    return {"written": str(path), "scores": scores, **_spent(model.journal, price)}


def _languages(text: str) -> tuple[str, ...]:
    from otter_runtime.errors import UserError
    from otter_tuning.syphus.task import LANGUAGE_NAMES

    if text == "all":
        return tuple(LANGUAGE_NAMES)
    chosen = tuple(part.strip() for part in text.split(",") if part.strip())
    for one in chosen:
        if one not in LANGUAGE_NAMES:
            raise UserError(f"there is no language {one!r}; there are {', '.join(LANGUAGE_NAMES)}")
    return chosen


def _price(args: argparse.Namespace) -> Price:
    from otter_runtime.errors import UserError
    from otter_tuning.syphus.calls import Price

    try:
        return Price(Decimal(args.price_in), Decimal(args.price_out))
    except InvalidOperation as error:
        raise UserError(
            f"a price is dollars for a million tokens, as 0.15, but is {args.price_in!r} in and "
            f"{args.price_out!r} out"
        ) from error


def _images(path: Path | None) -> list[str]:
    from otter_tuning.mimicit.image_store import image_ids

    return [] if path is None else image_ids(path)


def _write_rejected(path: Path, outcome: Outcome) -> None:
    from otter_tuning.mimicit.json_file import replace_text

    lines = [json.dumps(asdict(one), ensure_ascii=False) for one in outcome.rejected]
    replace_text(path, "".join(f"{line}\n" for line in lines))


def _spent(journal: Journal, price: Price) -> dict[str, Any]:
    totals = journal.totals()
    prompt = sum(row["prompt_tokens"] for row in totals.values())
    completion = sum(row["completion_tokens"] for row in totals.values())
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "dollars": str(price.of(prompt, completion)),
        "by_purpose": totals,
    }


def _text(told: dict[str, Any]) -> str:
    return "\n".join(f"{name:18} {value}" for name, value in told.items())
