"""The robot of the recording benchmark: keeps so many questions waiting until it is ended.

No two are the same, as otherwise nothing would be left to compute but the answer.

    python benchmarks/record_asker.py STREAM REQUESTS WAITING QUESTION

It measures nothing; whoever started it counts the answers.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import count

from otter_robots.aio import Client
from otter_robots.errors import NoAnswer, NobodyListening


async def main(stream: str, requests: str, waiting: int, question: str) -> None:
    """Ask for ever."""
    async with Client(stream, requests, "asker") as bus:
        numbers = count(1)
        await asyncio.gather(*(_ask(bus, question, numbers) for _ in range(waiting)))


async def _ask(bus: Client, question: str, numbers: Iterator[int]) -> None:
    for number in numbers:
        with suppress(NobodyListening, NoAnswer):
            await bus.ask(f"{number}. {question}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]))
