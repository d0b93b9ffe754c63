"""One export from end to end: which format, is there room for it, and only whole results stay.

It knows the names of formats and not what is in them. Formats of the workstation join through the
entry-point group `otter_edge.exports`; each is a function of a Job.
"""

from __future__ import annotations

import difflib
import importlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from otter_runtime.errors import MissingExtra, UserError
from otter_runtime.trials.check import check
from otter_runtime.trials.exports.job import Job, Progress, lacking
from otter_runtime.trials.exports.verdicts import Verdicts
from otter_runtime.trials.trial import Trial

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "otter_edge.exports"
# Each is a module beside this one, and the extra that it needs.
OURS = ("rerun", "rosbag2", "lerobot")
Export = Callable[[Job], None]


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """What an export gave: how many of what is in `path`, and what the recording lacked."""

    format: str
    path: str
    written: dict[str, int]
    missing: list[str]


def export(
    path: Path, to: Path, name: str, corrections: Path | None, progress: Progress
) -> Exported:
    """Write a trial as the format `name` to the new file or folder `to`.

    Raises UserError for an unknown format and a `to` that exists, MissingExtra where a package is
    not installed, TrialError where there is no trial. What an export that failed had written is
    removed.
    """
    write = _found(name)
    if to.exists():
        raise UserError(f"{to} is there already; give a new name, or remove it")
    verdicts = Verdicts.read(corrections) if corrections else Verdicts()
    report = check(path)
    to.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=to.parent, prefix=".export-"))
    try:
        job = Job(Trial(path), beside / to.name, report, progress, verdicts, lacking(report))
        write(job)
        job.to.rename(to)
    finally:
        shutil.rmtree(beside)
    if job.unreadable:
        job.missing.append(f"{len(job.unreadable)} messages cannot be read by this version")
    written = {kind: count for kind, count in job.written.items() if count}
    return Exported(format=name, path=str(to), written=written, missing=job.missing)


def _found(name: str) -> Export:
    try:
        if name in OURS:
            module = importlib.import_module(f"otter_runtime.trials.exports.{name}")
            ours: Export = module.write
            return ours
        joined = _joined()
        if name in joined:
            theirs: Export = joined[name].load()
            return theirs
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package.startswith("otter_"):
            raise
        raise MissingExtra(package, name if name in OURS else _extra(joined[name])) from error
    names = [*OURS, *joined]
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
    raise UserError(f"there is no export to {name!r}; {hint}")


def _joined() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=GROUP)}


def _extra(point: EntryPoint) -> str:
    """`otter_tuning.mimicit.trial_pairs:write` needs the extra `tuning`."""
    return point.value.partition(".")[0].removeprefix("otter_")
