"""The language model behind any OpenAI-compatible endpoint, hosted or local.

Requests run side by side; a rate limit holds all of them back, for as long as the server says. What
may pass is tried again with growing pauses; what will not (a bad key, a bad request) is told at
once. Every reply goes through the journal.
"""

from __future__ import annotations

import asyncio
import random
import re
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from otter_runtime.errors import MissingExtra, OtterError, UserError
from otter_tuning.syphus.calls import Journal, Reply, Request
from otter_tuning.syphus.pairs import SCHEMA

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_SPAN = re.compile(r"(?:(\d+)m)?(?:([\d.]+)s)?(?:([\d.]+)ms)?$")


class CallFailed(OtterError):
    """A request that no try brought a reply to; the message has the last reason."""


@dataclass(frozen=True)
class Endpoint:
    """Where the model is, and how patient to be.

    `key_from` is the environment variable that holds the API key; a local server may need none.
    `strict` asks for the reply's JSON schema, which not every server knows.
    """

    base_url: str | None = None
    model: str = "gpt-4o-mini"
    key_from: str = "OPENAI_API_KEY"
    concurrency: int = 8
    timeout_s: float = 120.0
    tries: int = 8
    first_pause_s: float = 0.5
    longest_pause_s: float = 60.0
    strict: bool = True


@dataclass
class Counters:
    """What the calls of this run met with."""

    sent: int = 0
    from_journal: int = 0
    rate_limited: int = 0
    retried: int = 0
    failed: int = 0
    reasons: dict[str, int] = field(default_factory=dict)


class Model:
    """`await model(request)`: from the journal, or from the endpoint and into the journal."""

    def __init__(self, endpoint: Endpoint, journal: Journal, key: str | None) -> None:
        self.endpoint, self.journal, self.counters = endpoint, journal, Counters()
        self._client = _client(endpoint, key)
        self._room = asyncio.Semaphore(endpoint.concurrency)
        self._under_way: dict[str, asyncio.Task[Reply]] = {}
        self._open = 0.0  # the loop's time before which nobody may send

    async def __call__(self, request: Request) -> Reply:
        """Raises CallFailed where no try succeeds, UserError for what no try can mend."""
        if (known := self.journal.reply(request)) is not None:
            self.counters.from_journal += 1
            return known
        # Two queries may ask for the same, a translation say: one call serves both.
        if request.key not in self._under_way:
            task = asyncio.ensure_future(self._asked(request))
            self._under_way[request.key] = task
            task.add_done_callback(lambda _: self._under_way.pop(request.key))
        return await self._under_way[request.key]

    async def _asked(self, request: Request) -> Reply:
        async with self._room:
            reply = await self._tried(request)
        self.journal.keep(request, reply)
        return reply

    async def _tried(self, request: Request) -> Reply:
        import openai

        reason = ""
        for attempt in range(self.endpoint.tries):
            await self._wait()
            try:
                self.counters.sent += 1
                return await self._send(request)
            except openai.RateLimitError as error:
                self.counters.rate_limited += 1
                self._hold(_pause(error, self._backoff(attempt)))
                reason = "rate limit"
            except (openai.APIConnectionError, openai.InternalServerError) as error:
                self.counters.retried += 1
                reason = type(error).__name__
                if self.counters.retried == 1:
                    told = f"{self._client.base_url} does not answer ({reason}); trying again"
                    print(told, file=sys.stderr, flush=True)
                await asyncio.sleep(self._backoff(attempt))
            except openai.APIStatusError as error:
                raise UserError(
                    f"{self._client.base_url} refuses the request ({error.status_code}): "
                    f"{error.message}; check the model's name and the key"
                ) from error
            self.counters.reasons[reason] = self.counters.reasons.get(reason, 0) + 1
        self.counters.failed += 1
        raise CallFailed(f"no reply in {self.endpoint.tries} tries, the last: {reason}")

    async def _send(self, request: Request) -> Reply:
        form = {"type": "json_schema", "json_schema": {"name": "pairs", "schema": SCHEMA}}
        answer: Any = await self._client.chat.completions.create(  # type: ignore[call-overload]
            model=request.model,
            messages=[{"role": role, "content": text} for role, text in request.messages],
            temperature=request.temperature,
            top_p=request.top_p,
            max_tokens=request.max_tokens,
            seed=request.seed,
            extra_headers={"Idempotency-Key": request.key},
            **({"response_format": form} if self.endpoint.strict else {}),
        )
        text = answer.choices[0].message.content or "" if answer.choices else ""
        usage = answer.usage
        return Reply(
            text,
            usage.prompt_tokens if usage else 0,
            usage.completion_tokens if usage else 0,
        )

    async def _wait(self) -> None:
        while (left := self._open - asyncio.get_running_loop().time()) > 0:
            # Not all at the same moment when it opens.
            await asyncio.sleep(left + random.uniform(0, 0.1 * left))

    def _hold(self, pause_s: float) -> None:
        self._open = max(self._open, asyncio.get_running_loop().time() + pause_s)

    def _backoff(self, attempt: int) -> float:
        pause = min(self.endpoint.first_pause_s * 2.0**attempt, self.endpoint.longest_pause_s)
        return pause * random.uniform(0.75, 1.25)

    async def close(self) -> None:
        await self._client.close()


def _client(endpoint: Endpoint, key: str | None) -> AsyncOpenAI:
    try:
        from openai import AsyncOpenAI
    except ModuleNotFoundError as error:
        raise MissingExtra("openai", "tuning") from error
    if key is None and endpoint.base_url is None:
        raise UserError(
            f"there is no key for OpenAI; set {endpoint.key_from}, or give --endpoint for a local "
            "server"
        )
    return AsyncOpenAI(
        api_key=key or "none",
        base_url=endpoint.base_url,
        timeout=endpoint.timeout_s,
        max_retries=0,
    )


def _pause(error: Any, otherwise: float) -> float:
    """Seconds that a 429 asks for: Retry-After(-ms), or OpenAI's own `6m0s` and `20ms`."""
    headers = error.response.headers
    try:
        if (milliseconds := headers.get("retry-after-ms")) is not None:
            return float(milliseconds) / 1000
        if (seconds := headers.get("retry-after")) is not None:
            return float(seconds)
    except ValueError:
        return otherwise
    spans = [
        _SPAN.match(headers.get(f"x-ratelimit-reset-{what}", "")) for what in ("requests", "tokens")
    ]
    found = [_seconds(span) for span in spans if span is not None and span.group()]
    return max(found, default=otherwise)


def _seconds(span: re.Match[str]) -> float:
    minutes, seconds, milliseconds = (float(part or 0) for part in span.groups())
    return 60 * minutes + seconds + milliseconds / 1000
