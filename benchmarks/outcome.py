"""How a benchmark ends: a table for people, one JSON line for programs, an exit code for both.

It knows nothing of what is measured.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from otter_robots.errors import OtterError
from otter_robots.interrupt import INTERRUPTED, interruptible

Report = dict[str, Any]


def tell(
    measured: Callable[[], Report],
    table: Callable[[Report], str],
    held: Callable[[Report], bool] = lambda _: True,
    *,
    json_alone: bool,
) -> int:
    """Measure and print; 0, 1 where the report does not hold, an error's own code where it ends.

    Told to end, it gives INTERRUPTED, and what was being measured ends before it.
    """
    interruptible()
    try:
        report = measured()
    except OtterError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    if not json_alone:
        print(table(report))
    print(json.dumps(report))
    return 0 if held(report) else 1


def lines(report: Report, width: int) -> str:
    """A line for each figure, its name in a column of so many characters."""
    return "\n".join(f"{name:{width}}{value}" for name, value in report.items())
