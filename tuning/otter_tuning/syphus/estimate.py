"""What a run will cost, before it is paid for.

A few queries are asked for real (they are in the journal and not asked again); the rest is reckoned
from what they took: tokens for each character that goes in, tokens that come back for a query, and
for each language's translation likewise. Without a pilot, the paper's own proportions serve.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from otter_tuning.syphus.calls import Price
from otter_tuning.syphus.queries import Query
from otter_tuning.syphus.task import Task

# English prose; and the paper's tokens out for each token in: 147.1 M of 859.7 M (appendix A).
TOKENS_PER_CHARACTER = 0.25
OUT_PER_IN = 147.1 / 859.7


@dataclass(frozen=True)
class Estimate:
    """Calls, tokens and dollars, the pilot's own included."""

    queries: int
    pilot: int
    calls: int
    prompt_tokens: int
    completion_tokens: int
    dollars: Decimal


def estimate(
    task: Task,
    queries: Sequence[Query],
    languages: int,
    price: Price,
    pilot: Sequence[Query] = (),
    spent: dict[str, dict[str, int]] | None = None,
) -> Estimate:
    """Reckon all of `queries`; `spent` are the journal's totals after asking about `pilot`."""
    characters = sum(task.request(query, "").characters for query in queries)
    if not pilot or not spent or "generate" not in spent:
        prompt = characters * TOKENS_PER_CHARACTER
        completion = prompt * OUT_PER_IN
        # A translation takes in about what was written, and gives as much.
        prompt, completion = prompt + languages * completion, completion * (1 + languages)
        calls = len(queries) * (1 + languages)
        return _estimate(len(queries), 0, calls, prompt, completion, price)
    asked = sum(task.request(query, "").characters for query in pilot)
    made = spent["generate"]
    # Prompts go by their length; what is written, and translated of it, by the query.
    share, scale = characters / asked, len(queries) / len(pilot)
    turned = [row for purpose, row in spent.items() if purpose != "generate"]
    prompt = made["prompt_tokens"] * share + sum(row["prompt_tokens"] for row in turned) * scale
    completion = sum(row["completion_tokens"] for row in spent.values()) * scale
    calls = round(sum(row["calls"] for row in spent.values()) * scale)
    return _estimate(len(queries), len(pilot), calls, prompt, completion, price)


def _estimate(
    queries: int, pilot: int, calls: int, prompt: float, completion: float, price: Price
) -> Estimate:
    into, out = round(prompt), round(completion)
    return Estimate(queries, pilot, calls, into, out, price.of(into, out))
