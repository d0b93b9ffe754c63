"""`otter-edge mimicit`: check a set of MIMIC-IT files, repair it, pack its pictures."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from otter_tuning.mimicit.check import Checked
    from otter_tuning.mimicit.image_store import ImageStore

ABOUT = "check, repair and pack MIMIC-IT data"
STORES = (".sqlite", ".db")
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


def run(args: argparse.Namespace) -> int:
    """Do what was asked; exit code 1 where `check` found faults."""
    return _pack(args) if args.act == "pack" else _check(args)


def _check(args: argparse.Namespace) -> int:
    from otter_tuning.mimicit.check import check
    from otter_tuning.mimicit.instructions import Instructions, read_contexts, write_contexts

    given = Instructions.read(args.instructions)
    others = {name for path in args.others for name in Instructions.read(path).data}
    contexts = None if args.contexts is None else read_contexts(args.contexts)
    checked = check(given, None if args.images is None else _names(args.images), contexts, others)
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


def _names(path: Path) -> list[str]:
    """The ids of the pictures at `path`; the pictures themselves are passed over."""
    from otter_tuning.mimicit.image_store import ImageStore, picture_files, pictures

    if path.suffix in STORES:
        with ImageStore(path) as store:
            return list(store)
    return [name for file in picture_files(path) for name, _ in pictures(file)]


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
    from otter_tuning.mimicit.image_store import ImageStore

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
    from otter_tuning.mimicit.image_store import ImageStore

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
