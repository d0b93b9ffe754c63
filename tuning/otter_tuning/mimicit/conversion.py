"""Runs the tasks of a source into a store: on a local pool, or on Ray through the same function.

What is done is remembered in the store, so that a run that was ended goes on where it stopped.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from multiprocessing import get_context

from otter_runtime.errors import MissingExtra
from otter_tuning.mimicit.image_store import ImageStore
from otter_tuning.mimicit.picture import Made, Task, make

Progress = Callable[[str, int, int], None]
AHEAD = 4  # tasks waiting per worker: enough to keep it busy, few enough to hold in memory


@dataclass
class Converted:
    """What a run did: pictures added, tasks done before, ids that were taken, what failed."""

    pictures: int = 0
    done_before: int = 0
    taken: list[str] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)  # path, reason


def convert(
    tasks: list[Task],
    store: ImageStore,
    progress: Progress,
    workers: int | None = None,
    ray: bool = False,
) -> Converted:
    """Make every task's pictures and store them, in the order of the tasks.

    Raises MissingExtra where Ray is asked for and not installed.
    """
    done = store.done()
    waiting = [task for task in tasks if task.path not in done]
    result = Converted(done_before=len(tasks) - len(waiting))
    made = _on_ray(waiting) if ray else _on_pool(waiting, workers or os.cpu_count() or 1)
    for count, one in enumerate(made, 1):
        if one.failure is not None:
            result.failures.append((one.task.path, one.failure))
        else:
            taken = store.add(one.pictures, of=one.task.path)
            result.taken += taken
            result.pictures += len(one.pictures) - len(taken)
        progress("pictures", count, len(waiting))
    return result


def _on_pool(tasks: Iterable[Task], workers: int) -> Iterator[Made]:
    """In order, never more than a few tasks ahead; processes, since decoding holds the GIL."""
    if workers == 1:
        yield from map(make, tasks)
        return
    left = iter(tasks)
    # A fork would share OpenCV's threads with the children.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        running: list[Future[Made]] = [
            pool.submit(make, task) for task in itertools.islice(left, workers * AHEAD)
        ]
        while running:
            wait(running[:1], return_when=FIRST_COMPLETED)
            yield running.pop(0).result()
            running += [pool.submit(make, task) for task in itertools.islice(left, 1)]


def _on_ray(tasks: list[Task]) -> Iterator[Made]:
    """On the cluster that Ray finds, or one of its own on this machine."""
    try:
        import ray
    except ModuleNotFoundError as error:
        raise MissingExtra("ray", "ray") from error
    if not tasks:
        return
    if not ray.is_initialized():
        ray.init(log_to_driver=False, include_dashboard=False)
    rows = ray.data.from_items([{"task": task} for task in tasks])
    for row in rows.map(_row).iter_rows():
        yield row["made"]


def _row(row: dict[str, Task]) -> dict[str, Made]:
    return {"made": make(row["task"])}
