"""`otter-edge mimicit`: make MIMIC-IT of its sources; check, repair and pack its files."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from otter_tuning.mimicit.check import Checked
    from otter_tuning.mimicit.image_store import ImageStore

ABOUT = "make, check, repair and pack MIMIC-IT data"
FAULTY = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    acts = parser.add_subparsers(dest="act", required=True, metavar="ACT")
    check = acts.add_parser("check", help="name every fault; exit code 1 where there is one")
    repair = acts.add_parser("repair", help="check, and write the set without its faults")
    for act in (check, repair):
        act.add_argument("instructions", type=Path, help="X_instructions.json")
        act.add_argument(
            "--images", type=Path, help="its pictures: .json, .parquet, a folder of them, a store"
        )
        act.add_argument("--contexts", type=Path, help="its context map, X_train.json")
        act.add_argument(
            "--others",
            type=Path,
            nargs="+",
            default=[],
            metavar="FILE",
            help="instruction files whose pairs may be contexts",
        )
        act.add_argument("--report", type=Path, metavar="FILE", help="write a page")
        act.add_argument("--json", action="store_true", help="every fault, as one JSON object")
    repair.add_argument("-o", "--out", type=Path, required=True, help="folder for what is repaired")
    pack = acts.add_parser("pack", help="pictures from one kind of file into another")
    pack.add_argument("images", type=Path, nargs="+", help=".json, .parquet, a folder, a store")
    pack.add_argument(
        "-o", "--out", type=Path, required=True, help="a .sqlite store, .parquet or .json"
    )
    pack.add_argument("--json", action="store_true", help="one JSON object")
    convert = acts.add_parser("convert", help="a source's own files into pictures with the ids")
    convert.add_argument(
        "source", metavar="SOURCE", help="LA, SD, CGD, SN, VST, DC, TVC, E4D or OWN"
    )
    convert.add_argument("root", type=Path, help="the folder that the source was unpacked into")
    convert.add_argument("-o", "--out", type=Path, required=True, help="a .sqlite store")
    convert.add_argument("--list", type=Path, metavar="FILE", help="which pictures (LA, VST)")
    convert.add_argument("--workers", type=int, help="processes (default: one a core)")
    convert.add_argument("--ray", action="store_true", help="on Ray instead of a local pool")
    convert.add_argument("--json", action="store_true", help="one JSON object")
    llava = acts.add_parser("llava", help="a LLaVA-Instruct file into LA's instructions")
    llava.add_argument("file", type=Path, help="e.g. conversation_58k.json")
    llava.add_argument(
        "--kind", required=True, metavar="KIND", help="conversation, detail or reasoning"
    )
    llava.add_argument("-o", "--out", type=Path, required=True, help="LA_instructions.json")
    context = acts.add_parser("context", help="the nearest pairs as contexts: I2I, T2T")
    context.add_argument("vectors", type=Path, help=".npz: `ids` of pairs, `vectors` of an encoder")
    context.add_argument("--nearest", type=int, default=10, metavar="N", help="default 10")
    context.add_argument("-o", "--out", type=Path, required=True, help="X_train.json")
    stats = acts.add_parser("stats", help="counts, lengths, verbs and nouns")
    stats.add_argument("instructions", type=Path, nargs="+", help="X_instructions.json")
    stats.add_argument("--report", type=Path, metavar="FILE", help="write a page with plots")
    stats.add_argument("--json", action="store_true", help="one JSON object")


def run(args: argparse.Namespace) -> int:
    """Do what was asked; exit code 1 where `check` found faults."""
    acts = {
        "pack": _pack,
        "convert": _convert,
        "llava": _llava,
        "context": _context,
        "stats": _stats,
    }
    return acts.get(args.act, _check)(args)


def _check(args: argparse.Namespace) -> int:
    from otter_tuning.mimicit.check import check
    from otter_tuning.mimicit.image_store import image_ids
    from otter_tuning.mimicit.instructions import Instructions, read_contexts, write_contexts

    given = Instructions.read(args.instructions)
    others = {name for path in args.others for name in Instructions.read(path).data}
    contexts = None if args.contexts is None else read_contexts(args.contexts)
    checked = check(
        given, None if args.images is None else image_ids(args.images), contexts, others
    )
    told = _told(args, checked)
    if args.act == "repair":
        checked.instructions.write(args.out / args.instructions.name)
        told["written"] = str(args.out / args.instructions.name)
        if checked.contexts is not None:
            write_contexts(args.out / args.contexts.name, checked.contexts)
    if args.report is not None:
        from otter_tuning.mimicit.check_report import write_check_report

        write_check_report(args.report, args.instructions.name, checked)
        told["report"] = str(args.report)
    print(json.dumps(told) if args.json else _text(checked, told))
    return FAULTY if checked.faults and args.act == "check" else 0


def _told(args: argparse.Namespace, checked: Checked) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "file": str(args.instructions),
        "pairs": checked.pairs,
        "images": checked.images,
        "kept": len(checked.instructions),
        "counts": dict(checked.counts),
        "faults": [asdict(fault) for fault in checked.faults],
    }


def _text(checked: Checked, told: dict[str, Any]) -> str:
    from otter_tuning.mimicit.check import KINDS

    lines = [f"{told['file']}: {told['pairs']} pairs, {told['images']} pictures"]
    for kind, count in sorted(checked.counts.items(), key=lambda one: -one[1]):
        first = next(fault for fault in checked.faults if fault.kind == kind)
        about = " ".join(text for text in (first.where, first.named, first.found) if text)
        lines.append(f"{count:8} {kind:18} {KINDS[kind][0]}, e.g. {about}")
    if not checked.faults:
        lines.append("no fault")
    for name in ("written", "report"):
        if name in told:
            lines.append(f"{name}: {told[name]} ({told['kept']} pairs kept)")
    return "\n".join(lines)


def _pack(args: argparse.Namespace) -> int:
    import tempfile

    from otter_runtime.errors import UserError
    from otter_tuning.mimicit.image_store import STORES, ImageStore

    if args.out.suffix not in (*STORES, ".parquet", ".json"):
        raise UserError(f"{args.out} should end in .sqlite, .parquet or .json")
    with tempfile.TemporaryDirectory(dir=args.out.parent, prefix="pack-") as folder:
        path = args.out if args.out.suffix in STORES else Path(folder) / "store.sqlite"
        with ImageStore(path) as store:
            taken = [name for source in args.images for name in _add(store, source)]
            written = _write(store, args.out)
            told = {"pictures": len(store), "written": written, "twice": taken}
    print(json.dumps(told) if args.json else f"{told['pictures']} pictures: {', '.join(written)}")
    if taken and not args.json:
        print(f"{len(taken)} ids stood twice, the first stays: {', '.join(taken[:5])} ...")
    return 0


def _add(store: ImageStore, source: Path) -> list[str]:
    from otter_tuning.mimicit.image_store import STORES, ImageStore

    if source.suffix in STORES:
        with ImageStore(source) as other:
            return store.add((name, other[name]) for name in other)
    return store.read(source)


def _write(store: ImageStore, out: Path) -> list[str]:
    if out.suffix == ".parquet":
        return [str(path) for path in store.write_parquet(out)]
    if out.suffix == ".json":
        store.write_json(out)
    return [str(out)]


def _convert(args: argparse.Namespace) -> int:
    from otter_runtime.errors import UserError
    from otter_runtime.progress_bar import Bar
    from otter_tuning.mimicit.conversion import convert
    from otter_tuning.mimicit.image_store import STORES, ImageStore
    from otter_tuning.mimicit.sources import SOURCES

    if args.out.suffix not in STORES:
        raise UserError(f"{args.out} should end in {' or '.join(STORES)}: it becomes a store")
    read = SOURCES[_one_of(args.source, SOURCES, "source")]
    work = read(args.root, args.list)
    with ImageStore(args.out) as store, Bar(args.json) as bar:
        done = convert(work.tasks, store, bar, args.workers, args.ray)
    told = {
        "pictures": done.pictures,
        "done_before": done.done_before,
        "taken": done.taken,
        "missing": work.missing,
        "failures": done.failures,
        "written": str(args.out),
    }
    print(json.dumps(told) if args.json else _converted(told))
    return FAULTY if work.missing or done.failures else 0


def _converted(told: dict[str, Any]) -> str:
    lines = [f"{told['pictures']} pictures into {told['written']}"]
    if told["done_before"]:
        lines.append(f"{told['done_before']} files were done before")
    lines += [f"missing: {name}" for name in told["missing"]]
    lines += [f"failed: {path}: {reason}" for path, reason in told["failures"]]
    return "\n".join(lines)


def _llava(args: argparse.Namespace) -> int:
    from otter_tuning.mimicit.llava_instruct import KINDS, read_llava

    made = read_llava(args.file, _one_of(args.kind, KINDS, "kind"))
    made.write(args.out)
    print(f"{len(made)} pairs into {args.out}")
    return 0


def _one_of(name: str, names: Collection[str], what: str) -> str:
    import difflib

    from otter_runtime.errors import UserError

    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}" if near else f"there are {', '.join(names)}"
    raise UserError(f"there is no {what} {name!r}; {hint}")


def _context(args: argparse.Namespace) -> int:
    from otter_tuning.mimicit.context import contexts, read_vectors
    from otter_tuning.mimicit.instructions import write_contexts

    names, vectors = read_vectors(args.vectors)
    write_contexts(args.out, contexts(names, vectors, args.nearest))
    print(
        f"{len(names)} pairs with their {min(args.nearest, len(names) - 1)} nearest into {args.out}"
    )
    return 0


def _stats(args: argparse.Namespace) -> int:
    from itertools import chain

    from otter_tuning.mimicit.instructions import Instructions
    from otter_tuning.mimicit.statistics import statistics

    told = statistics(chain.from_iterable(map(Instructions.read, args.instructions)))
    if args.report is not None:
        from otter_tuning.mimicit.statistics_report import write_statistics

        name = ", ".join(path.name for path in args.instructions)
        write_statistics(args.report, name, told)
    shown = {
        "pairs": told.pairs,
        "images": told.images,
        "sets": dict(told.sets),
        "languages": dict(told.languages),
        "mean_instruction_words": _mean(told.instruction_words),
        "mean_answer_words": _mean(told.answer_words),
        "verbs": {verb: nouns.total() for verb, nouns in told.verbs.items()},
    }
    print(json.dumps(shown) if args.json else "\n".join(f"{k:24} {v}" for k, v in shown.items()))
    return 0


def _mean(counts: Counter[int]) -> float:
    return round(sum(value * count for value, count in counts.items()) / max(counts.total(), 1), 2)
