"""Calls of a language model, each made once: a journal on disk between the pipeline and the server.

A call's key is the hash of everything that was asked. A reply is on disk, synced, before anybody
sees it: a run that is killed at any moment repeats no call that came back, and asks one that was
under way again with the same idempotency key.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from dataclasses import asdict, dataclass
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

from otter_runtime.errors import UserError

MILLION = 1_000_000
CENT = Decimal("0.01")


@dataclass(frozen=True)
class Request:
    """One question to the model: messages as OpenAI's protocol has them, and how to sample."""

    model: str
    messages: tuple[tuple[str, str], ...]  # role, content
    temperature: float = 0.7
    top_p: float = 0.95
    max_tokens: int = 3200
    purpose: str = "generate"
    seed: int = 0

    @property
    def key(self) -> str:
        """Hex sha256 of the request."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    @property
    def characters(self) -> int:
        """How much text goes in."""
        return sum(len(content) for _, content in self.messages)


@dataclass(frozen=True)
class Reply:
    """What came back, and what it cost in tokens."""

    text: str
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Price:
    """Dollars for a million tokens in and out."""

    prompt: Decimal
    completion: Decimal

    def of(self, prompt_tokens: int, completion_tokens: int) -> Decimal:
        """To the cent, half a cent up."""
        sum_ = self.prompt * prompt_tokens + self.completion * completion_tokens
        return (sum_ / MILLION).quantize(CENT, ROUND_HALF_UP)


class Journal:
    """Replies by key, at `path`; one process at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(path, isolation_level=None)
            self._base.execute("PRAGMA journal_mode = WAL")
            self._base.execute("PRAGMA synchronous = FULL")
            self._base.execute(
                "CREATE TABLE IF NOT EXISTS call (key TEXT PRIMARY KEY, purpose TEXT, "
                "request TEXT, reply TEXT, prompt_tokens INT, completion_tokens INT, "
                "characters INT, at REAL)"
            )
        except (OSError, sqlite3.Error) as error:
            raise UserError(f"{path} is no journal of calls ({error}); give another") from error

    def reply(self, request: Request) -> Reply | None:
        """What was answered to this request, if it was."""
        row = self._base.execute(
            "SELECT reply, prompt_tokens, completion_tokens FROM call WHERE key = ?",
            (request.key,),
        ).fetchone()
        return None if row is None else Reply(*row)

    def keep(self, request: Request, reply: Reply) -> None:
        """On disk when this returns; UserError where the disk takes no more."""
        row = (
            request.key,
            request.purpose,
            json.dumps(asdict(request), ensure_ascii=False),
            reply.text,
            reply.prompt_tokens,
            reply.completion_tokens,
            request.characters,
            time.time(),
        )
        try:
            self._base.execute("INSERT OR IGNORE INTO call VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        except sqlite3.Error as error:
            raise UserError(f"{self.path} cannot be written ({error}); free some space") from error

    def totals(self) -> dict[str, dict[str, int]]:
        """Per purpose: calls, tokens in and out, characters in."""
        rows = self._base.execute(
            "SELECT purpose, count(*), sum(prompt_tokens), sum(completion_tokens), "
            "sum(characters), sum(length(reply)) FROM call GROUP BY purpose ORDER BY purpose"
        )
        names = ("calls", "prompt_tokens", "completion_tokens", "characters", "reply_characters")
        return {purpose: dict(zip(names, map(int, rest), strict=True)) for purpose, *rest in rows}

    def close(self) -> None:
        self._base.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
