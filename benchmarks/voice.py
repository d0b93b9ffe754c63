"""How well the shipped phrases are heard, and how often other speech is taken for one.

    python benchmarks/voice.py                          five voices, clean and in noise
    python benchmarks/voice.py --voices en-us --speeds 150 --snr-db 20

espeak-ng says the phrases, and sentences that are none, each into a quiet room (a noise of 3 of
32768) and into white noise. All of it goes through segmentation and recognition as a microphone's
frames would, without a sound device. Synthetic voices are clearer than people: this finds what is
bad, it does not promise what is good. Prints a table, then one JSON line; exit code 1 where less
than 90 % of the phrases in the quiet room are recognised, or more than 10 % of other sentences are
taken for one.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import outcome
from numpy.typing import NDArray

from otter_runtime.audio.conversation import Heard, grammars
from otter_runtime.audio.phrases import Phrases
from otter_runtime.audio.recogniser import Recogniser, Voiced
from otter_runtime.audio.resampler import Resampler
from otter_runtime.audio.synthesiser import Synthesiser
from otter_runtime.audio.utterance import FRAME_BYTES, FRAME_MS, RATE_HZ, Segmenter

VOICES = ["en-us", "en-us+f3", "en-us+m3", "en-gb", "en-gb-scotland"]
SPEEDS = [130, 160]
QUIET = 3.0  # standard deviation of the room's own noise
BEFORE_S, AFTER_S = 0.5, 1.0
SCORES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
LEAST_RIGHT, MOST_FALSE = 0.9, 0.1

OTHER = (
    "The weather is nice today.",
    "I would like a cup of coffee.",
    "Please call my mother tomorrow morning.",
    "How much is the fish?",
    "We met at the station.",
    "She sells sea shells by the shore.",
    "Open the window a little.",
    "Turn up the music.",
    "My name is Peter and I live in Berlin.",
    "This is a completely different sentence.",
    "Could you pass me the salt?",
    "There was nobody in the house.",
    "Hello!",
    "Thank you very much.",
    "Where did you park the car?",
    "I do not know what to say.",
    "The red car is faster than the blue one.",
    "Can you hear me?",
    "What time is it?",
    "One two three four five.",
    "Let us take a break.",
    "That is not what I meant.",
    "He said he would be back soon.",
    "Did you read the news?",
    "The quick brown fox jumps over the lazy dog.",
    "Are you coming with us?",
    "Maybe later.",
    "Good morning.",
    "We should leave before it gets dark.",
    "It stopped raining an hour ago.",
)


class Said(NamedTuple):
    """What was said and how it was heard; `delay_s` is from the last sound to the result."""

    text: str
    noise: str
    meant: bool  # what was heard has the same meaning
    heard: Heard
    delay_s: float

    def right(self, score: float = 0.0) -> bool:
        """Whether it was heard as what it was, in whichever wording."""
        return self.meant and self.heard.score >= score

    def taken(self, score: float) -> bool:
        """Whether it was taken for a phrase."""
        return bool(self.heard.words) and self.heard.score >= score

    def believed(self, phrases: Phrases) -> bool:
        """Whether it was taken for a phrase, at the score that phrase needs."""
        return bool(self.heard.words) and self.taken(
            phrases.least(phrases.meanings()[self.heard.words])
        )


class Listener:
    """Segmentation and recognition of a whole recording."""

    def __init__(self, phrases: Phrases) -> None:
        self.meanings = phrases.meanings()
        self.usual, self.awaited = grammars(self.meanings)
        self._recognise = Recogniser([self.usual, self.awaited], phrases.sounds())

    def hear(
        self, samples: NDArray[np.int16], end_s: float, expected: frozenset[str]
    ) -> tuple[Heard, float]:
        """The surest utterance in it, and the delay after `end_s`, where the speech ends."""
        segmenter, heard = Segmenter(Voiced()), [(Heard("", 0.0), 0.0)]
        pcm = samples.tobytes()
        for number in range(len(pcm) // FRAME_BYTES):
            utterance = segmenter.hear(pcm[number * FRAME_BYTES : (number + 1) * FRAME_BYTES])
            if utterance is not None:
                begun_s = time.perf_counter()
                found = self._recognise(utterance, expected)
                took_s = time.perf_counter() - begun_s
                heard.append((found, (number + 1) * FRAME_MS / 1000 - end_s + took_s))
        return max(heard, key=lambda one: one[0].score)


def main(argv: list[str] | None = None) -> int:
    """Measure; see above."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--voices", nargs="+", default=VOICES, metavar="NAME", help="of espeak-ng")
    parser.add_argument("--speeds", nargs="+", type=int, default=SPEEDS, metavar="WPM")
    parser.add_argument("--snr-db", type=float, default=10.0, help="of the white noise")
    parser.add_argument("--other", type=int, default=len(OTHER), help="so many other sentences")
    parser.add_argument("--json", action="store_true", help="the JSON line alone")
    args = parser.parse_args(argv)
    return outcome.tell(lambda: measured(args), table, held, json_alone=args.json)


def measured(args: argparse.Namespace) -> outcome.Report:
    """Everything said and heard, counted."""
    phrases = Phrases()
    listener = Listener(phrases)
    hear = partial(_heard, listener, args.voices, snr_db=args.snr_db)
    assents = [*phrases.agree, *phrases.deny]
    said = [
        *hear(args.speeds, sorted(listener.usual), listener.usual),
        *hear(args.speeds, assents, listener.awaited),
    ]
    sentences = OTHER[: args.other]
    other = list(hear(args.speeds[-1:], sentences, listener.usual))
    instead = list(hear(args.speeds[-1:], sentences, listener.awaited))
    rooms = list(dict.fromkeys(one.noise for one in said))
    delays = sorted(one.delay_s for one in said if one.right())
    texts = dict.fromkeys(one.text for one in said)
    return {
        "voices": args.voices,
        "speeds": args.speeds,
        "score": phrases.score,
        "stop_score": phrases.stop_score,
        "yes_score": phrases.yes_score,
        "phrases": {text: _rooms(rooms, said, text, phrases) for text in texts},
        "by_score": {
            room: {
                str(score): _trade(
                    _in(said, room), _in(other, room), _in(instead, room), phrases, score
                )
                for score in SCORES
            }
            for room in rooms
        },
        "right": {room: _share(one.right() for one in _in(said, room)) for room in rooms},
        "false": {
            room: _share(one.believed(phrases) for one in _in(other, room)) for room in rooms
        },
        "false_as": _false_as(other, phrases),
        "false_as_awaited": _false_as(instead, phrases),
        "said": len(said),
        "other": len(other),
        "delay_s": {"p50": _at(delays, 0.5), "p95": _at(delays, 0.95)},
    }


def table(report: outcome.Report) -> str:
    """For people."""
    rooms = list(report["right"])
    head = f"{'phrase':26}" + "".join(f"{room:>10}{'accepted':>10}" for room in rooms)
    rows = [
        f"{text:26}"
        + "".join(f"{of[room]['right']:>10.0%}{of[room]['accepted']:>10.0%}" for room in rooms)
        for text, of in report["phrases"].items()
    ]
    trades = [
        f"{room:>10} {score:5}" + "".join(f"{share:>14.1%}" for share in of.values())
        for room, by_score in report["by_score"].items()
        for score, of in by_score.items()
    ]
    names = report["by_score"][rooms[0]][str(SCORES[0])]
    scores = f"{'score':>16}" + "".join(f"{name:>14}" for name in names)
    delay = report["delay_s"]
    counts = (
        f"{report['said']} phrases, {report['other']} other sentences; "
        f"these were taken for {report['false_as']}, awaiting a yes {report['false_as_awaited']}\n"
        f"heard {delay['p50']:.2f} s after the last sound (p95 {delay['p95']:.2f} s)"
    )
    return "\n".join([head, *rows, "", scores, *trades, "", counts])


def held(report: outcome.Report) -> bool:
    """Whether the quiet room is as good as the shipped score promises."""
    return bool(report["right"]["quiet"] >= LEAST_RIGHT and report["false"]["quiet"] <= MOST_FALSE)


def _heard(
    listener: Listener,
    voices: Iterable[str],
    speeds: Iterable[int],
    texts: Sequence[str],
    expected: frozenset[str],
    snr_db: float,
) -> Iterator[Said]:
    random = np.random.default_rng(0)
    for voice in voices:
        for speed in speeds:
            synthesise = Synthesiser(voice, speed)
            for text in texts:
                spoken, end_s = _spoken(synthesise, text)
                for noise, strength in (("quiet", QUIET), (f"{snr_db:g} dB", None)):
                    deviation = strength or _deviation(spoken, snr_db)
                    mixed = spoken + random.normal(0, deviation, len(spoken))
                    samples = np.clip(mixed, -32768, 32767).astype(np.int16)
                    heard, delay_s = listener.hear(samples, end_s, expected)
                    means = listener.meanings.get(heard.words)
                    meant = means is not None and means == listener.meanings.get(text)
                    yield Said(text, noise, meant, heard, delay_s)


def _spoken(synthesise: Synthesiser, text: str) -> tuple[NDArray[np.float64], float]:
    """Samples at RATE_HZ with silence around, and where the last sound is, in seconds."""
    clip = synthesise(text)
    samples = Resampler(clip.rate_hz, RATE_HZ)(clip.samples).astype(np.float64)
    before, after = np.zeros(int(BEFORE_S * RATE_HZ)), np.zeros(int(AFTER_S * RATE_HZ))
    padded = np.concatenate([before, samples, after])
    return padded, int(np.flatnonzero(np.abs(padded) > 30 * QUIET)[-1]) / RATE_HZ


def _deviation(spoken: NDArray[np.float64], snr_db: float) -> float:
    loud = spoken[np.abs(spoken) > 0]
    return float(np.sqrt(np.mean(loud**2)) * 10 ** (-snr_db / 20))


def _in(said: Iterable[Said], room: str) -> list[Said]:
    return [one for one in said if one.noise == room]


def _rooms(
    rooms: Iterable[str], said: Iterable[Said], text: str, phrases: Phrases
) -> dict[str, dict[str, float]]:
    mine = [one for one in said if one.text == text]
    least = phrases.least(phrases.meanings()[text])
    return {
        room: {
            "right": _share(one.right() for one in _in(mine, room)),
            "accepted": _share(one.right(least) for one in _in(mine, room)),
        }
        for room in rooms
    }


def _trade(
    said: list[Said], other: list[Said], instead: list[Said], phrases: Phrases, score: float
) -> dict[str, float]:
    """What of a room a score lets through: of each kind of phrase, and of other sentences."""
    kinds = {
        "phrases": set(phrases.meanings()) - {*phrases.stop, *phrases.agree, *phrases.deny},
        "stops": set(phrases.stop),
        "yes": set(phrases.agree),
    }
    passed = {
        kind: _share(one.right(score) for one in said if one.text in texts)
        for kind, texts in kinds.items()
    }
    false = {
        f"false {kind}": _share(
            one.taken(score) and one.heard.words in texts
            for one in (instead if kind == "yes" else other)
        )
        for kind, texts in kinds.items()
    }
    return passed | false


def _false_as(other: Iterable[Said], phrases: Phrases) -> dict[str, int]:
    taken = [one.heard.words for one in other if one.believed(phrases)]
    return {words: taken.count(words) for words in sorted(set(taken), key=taken.count)[::-1]}


def _share(which: Iterable[bool]) -> float:
    counted = list(which)
    return round(sum(counted) / max(1, len(counted)), 3)


def _at(ordered: list[float], share: float) -> float:
    return round(ordered[int(share * (len(ordered) - 1))], 3) if ordered else float("nan")


if __name__ == "__main__":
    sys.exit(main())
