"""Which phrase an utterance is, and how far to believe it: PocketSphinx, offline.

A grammar of the phrases has nothing but the phrases, so that most other speech is one of them, too.
The score therefore compares two explanations of the same sound: the phrase, and a free sequence of
phones, which explains any speech. With L the log likelihoods in nats and T the frames of 10 ms,

    gap = (L(phrase) - L(phones)) / T        score = 1 / (1 + exp((MIDDLE - gap) / WIDTH))

PocketSphinx's own posterior compares the phrases with each other, and is as sure of a wrong one.
This file does not know what the phrases mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from otter_runtime.audio.conversation import Heard
from otter_runtime.audio.utterance import FRAME_MS, RATE_HZ
from otter_runtime.errors import UserError

# Where other speech ends and phrases begin (benchmarks/voice.py, on synthetic voices).
MIDDLE, WIDTH = -1.2, 0.3
# PocketSphinx keeps a 1024th of its scores (SENSCR_SHIFT), so that they fit its integers.
SCALE = 1024
# Wide: with the default beams the end of a phrase is lost in noise, and with it the phrase.
BEAMS = {"beam": 1e-80, "wbeam": 1e-60, "pbeam": 1e-80}
# Phones compete with few others, so narrow beams give the same scores in half the time.
PHONE_BEAMS = {"beam": 1e-10, "pbeam": 1e-10, "lw": 1.0}


class Recogniser:
    """American English. Each grammar is a set of phrases as `phrases.spoken` gives them.

    Raises UserError for a word that is neither in the dictionary nor in `sounds`.
    """

    def __init__(self, grammars: Iterable[frozenset[str]], sounds: Mapping[str, str]) -> None:
        import pocketsphinx

        # The best path through the lattice may end before the phrase does; the search's does not.
        self._phrase = _decoder(lm=None, bestpath=False, **BEAMS)
        for word, phones in sounds.items():
            if self._phrase.lookup_word(word) is None:
                self._phrase.add_word(word, phones, False)
        self._names: dict[frozenset[str], str] = {}
        for phrases in grammars:
            self._check_words(phrases)
            self._names[phrases] = f"grammar{len(self._names)}"
            self._phrase.add_jsgf_string(self._names[phrases], grammar(sorted(phrases)))
        bigrams = pocketsphinx.get_model_path("en-us/en-us-phone.lm.bin")
        self._phones = _decoder(lm=None, allphone=bigrams, **PHONE_BEAMS)

    def __call__(self, pcm: bytes, expected: frozenset[str]) -> Heard:
        """The phrase of this grammar in a whole utterance, mono int16 at RATE_HZ, if it is one."""
        pcm = _dithered(pcm)
        self._phrase.activate_search(self._names[expected])
        words, phrase, frames = _decoded(self._phrase, pcm)
        if not words:
            return Heard("", 0.0)
        _, phones, _ = _decoded(self._phones, pcm)
        gap = (phrase - phones) / frames
        return Heard(words, 1 / (1 + math.exp(min(500.0, (MIDDLE - gap) / WIDTH))))

    def _check_words(self, phrases: Iterable[str]) -> None:
        words = {word for phrase in phrases for word in phrase.split()}
        unknown = sorted(word for word in words if self._phrase.lookup_word(word) is None)
        if unknown:
            raise UserError(
                f"the dictionary has no {', '.join(unknown)}; use other words, or say under "
                "pronunciations how they sound"
            )


class Voiced:
    """Whether a frame has a voice in it: WebRTC's detector, which comes with PocketSphinx."""

    def __init__(self) -> None:
        import pocketsphinx

        mode = pocketsphinx.Vad.STRICT
        self._vad = pocketsphinx.Vad(mode, RATE_HZ, FRAME_MS / 1000)

    def __call__(self, frame: bytes) -> bool:
        """Of FRAME_BYTES."""
        return bool(self._vad.is_speech(frame))


def grammar(phrases: Iterable[str]) -> str:
    """The JSGF text whose sentences are these phrases; they hold letters, ' and spaces only."""
    return f"#JSGF V1.0;\ngrammar phrases;\npublic <phrase> = {' | '.join(phrases)};\n"


def _decoder(**options: Any) -> Any:
    import pocketsphinx

    return pocketsphinx.Decoder(samprate=RATE_HZ, loglevel="FATAL", **options)


def _dithered(pcm: bytes) -> bytes:
    """On digital silence the features are undefined; here the same sound stays the same sound."""
    samples = np.frombuffer(pcm, np.int16).astype(np.int32)
    noise = np.random.default_rng(0).integers(-1, 2, len(samples))
    return (samples + noise).clip(-32768, 32767).astype(np.int16).tobytes()


def _decoded(decoder: Any, pcm: bytes) -> tuple[str, float, int]:
    """What it takes the sound for, its log likelihood in nats, and the number of frames."""
    # Otherwise the noise of what came before is taken off, and a score depends on it.
    decoder.reinit_feat()
    decoder.start_utt()
    decoder.process_raw(pcm, full_utt=True)  # at once: the mean of all of it is taken off
    decoder.end_utt()
    found = decoder.hyp()
    if found is None:
        return "", -math.inf, 1
    return found.hypstr, math.log(found.score) * SCALE, decoder.n_frames()
