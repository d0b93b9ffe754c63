"""Where somebody speaks in a stream of sound: frames in, whole utterances out.

It asks `is_speech` about each frame and knows nothing of words or devices.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

RATE_HZ = 16_000  # what the recogniser's acoustic model was trained on
FRAME_MS = 30
FRAME_BYTES = RATE_HZ * FRAME_MS // 1000 * 2  # mono int16

# A click is one frame, the shortest word ("no", "stop") has six or more.
BEGIN_VOICED, BEGIN_OF = 4, 6
# A pause within a phrase is shorter than this; 400 ms cut phrases in two.
HANGOVER_MS = 600
BEFORE_MS = 300  # a soft beginning is kept
LONGEST_MS = 9_990  # a radio, a conversation


class Segmenter:
    """Frames of FRAME_BYTES in, one utterance's int16 PCM out when it is over."""

    def __init__(self, is_speech: Callable[[bytes], bool]) -> None:
        self._is_speech = is_speech
        self.reset()

    def reset(self) -> None:
        """Forget what was heard so far."""
        self.speaking = False
        self._frames: list[bytes] = []
        self._silent = 0
        self._before: deque[bytes] = deque(maxlen=BEFORE_MS // FRAME_MS)
        self._voiced: deque[bool] = deque(maxlen=BEGIN_OF)

    def hear(self, frame: bytes) -> bytes | None:
        """The utterance that this frame ends, its silence before and after included."""
        voiced = self._is_speech(frame)
        if not self.speaking:
            self._wait(frame, voiced)
            return None
        self._frames.append(frame)
        self._silent = 0 if voiced else self._silent + 1
        over = self._silent * FRAME_MS >= HANGOVER_MS
        return self._end() if over or len(self._frames) * FRAME_MS >= LONGEST_MS else None

    def _wait(self, frame: bytes, voiced: bool) -> None:
        self._before.append(frame)
        self._voiced.append(voiced)
        if sum(self._voiced) >= BEGIN_VOICED:
            self.speaking, self._silent = True, 0
            self._frames = list(self._before)

    def _end(self) -> bytes:
        pcm = b"".join(self._frames)
        self.reset()
        return pcm
