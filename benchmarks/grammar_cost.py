"""What it costs to choose a token among those that a grammar allows, of few tokens and of many.

    python benchmarks/grammar_cost.py --json

The large vocabulary is trained on made-up words, the small one is pocket's. Medians of many
choices, freely (as free words are decoded) and inside a grammar; of compiling a sentence and all
sentences of a robot; of preparing the tokenizer once. Prints a table, then one JSON line.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from otter_robots.skill import Offer, Parameter, Skill
from otter_runtime.alternatives import alternatives
from otter_runtime.bundle import Bundle, Manifest
from otter_runtime.decoding import Decoder
from otter_runtime.grammar import Grammar
from otter_runtime.percentile import percentile

BUNDLE = Path(__file__).resolve().parents[1] / "runtime/otter_runtime/pocket/bundle-int8"
LETTERS = "etaoinshrdlucmfwypvbgkjqxz"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--vocabulary", type=int, default=50_000, help="the large one's size")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--json", action="store_true", help="only the JSON line")
    args = parser.parse_args(argv)
    bundle = Bundle.load(BUNDLE)
    small = measure(bundle.tokenizer(), bundle.manifest, args.rounds)
    trained = large_tokenizer(args.vocabulary)
    large = measure(trained, widened(bundle.manifest, trained), args.rounds)
    if not args.json:
        print(f"{'ms, p50':24}{small['vocabulary']:>12}{large['vocabulary']:>12}")
        for name in list(small)[1:]:
            print(f"{name:24}{small[name]:12.4f}{large[name]:12.4f}")
    print(json.dumps({"small": small, "large": large}))
    return 0


def measure(tokenizer: Tokenizer, manifest: Manifest, rounds: int) -> dict[str, float]:
    """Milliseconds by what was done."""
    vocab = manifest.dims.decoder.vocab
    logits = np.random.default_rng(0).normal(size=vocab).astype(np.float32)
    begun_s = time.perf_counter()
    grammar = Grammar(tokenizer, manifest)
    prepare_ms = 1000 * (time.perf_counter() - begun_s)
    sentence, every = expressions()
    decoder = Decoder(manifest.decoding, manifest.tokens)

    def free(_: int) -> None:
        decoder.ids.clear()
        decoder.next(logits)

    return {
        "vocabulary": vocab,
        "prepare_once": prepare_ms,
        "choose_free": median_ms(free, range(rounds)),
        "choose_constrained": median_ms(
            lambda matcher: matcher.choose(logits), [opened(grammar, every) for _ in range(rounds)]
        ),
        "compile_sentence": median_ms(lambda at: grammar.matcher(f"{sentence}{at}"), range(rounds)),
        "compile_all": median_ms(lambda at: grammar.matcher(f"{every}{at}"), range(rounds)),
    }


def expressions() -> tuple[str, str]:
    """One sentence with a number, and all sentences of a robot with 20 skills."""
    metres = Parameter(name="metres", low=0.5, high=20, step=0.5)
    skills = tuple(
        Skill(
            name=f"skill_{at}", texts=(f"Go to place {at} by {{metres}} m.",), parameters=(metres,)
        )
        for at in range(20)
    )
    offer = Offer(skills=skills, rank=False)
    sentence = alternatives(msgspec.structs.replace(offer, rank=True))[0].expression
    return sentence, alternatives(offer)[0].expression


def opened(grammar: Grammar, expression: str) -> Any:
    """A matcher where there is something to choose."""
    matcher = grammar.matcher(expression)
    matcher.forced()
    return matcher


def median_ms(act: Callable[[Any], object], values: Sequence[Any]) -> float:
    """The median time of `act` on each of `values`."""
    took = []
    for value in values:
        begun_s = time.perf_counter()
        act(value)
        took.append(1000 * (time.perf_counter() - begun_s))
    return percentile(took, 50)


def large_tokenizer(vocabulary: int) -> Tokenizer:
    """A byte-level BPE of this size, from made-up words with the letters of English."""
    random = np.random.default_rng(0)
    common = 1 / np.arange(1, 27)
    lengths = random.integers(2, 11, 4 * vocabulary)
    drawn = random.choice(list(LETTERS), lengths.sum(), p=common / common.sum())
    ends = np.cumsum(lengths)
    words = ("".join(drawn[end - length : end]) for end, length in zip(ends, lengths, strict=True))
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    made.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made.train_from_iterator(
        words,
        trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=["<|endofchunk|>"],
            initial_alphabet=alphabet,
            show_progress=False,
        ),
    )
    return made


def widened(manifest: Manifest, tokenizer: Tokenizer) -> Manifest:
    """The manifest as if its model had this tokenizer."""
    replace = msgspec.structs.replace
    decoder = replace(manifest.dims.decoder, vocab=tokenizer.get_vocab_size())
    return replace(
        manifest,
        dims=replace(manifest.dims, decoder=decoder),
        decoding=replace(manifest.decoding, stop_ids=[0], bad_words=[]),
    )


if __name__ == "__main__":
    sys.exit(main())
