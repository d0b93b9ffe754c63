"""What a model, a robot or a camera wrote, made fit for a terminal.

It knows letters; it does not know messages.
"""

from __future__ import annotations


def printable(text: str) -> str:
    """`text` on one line: nothing in it moves the cursor, changes a colour or turns it around."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
