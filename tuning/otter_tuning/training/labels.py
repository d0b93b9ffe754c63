"""Dense labels beside a MIMIC-IT set: what each patch of a picture shows, what each slot of a
medium is.

They are this trainer's own: a set without them trains as well, only its eyes are taught by words
alone. A file is an .npz: `patch_classes`, `slot_classes` (names), `pictures` (ids) with `patches`
(n, P), `pairs` (ids) with `slots` (m, S), both whole numbers, UNKNOWN where nobody knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from otter_runtime.errors import UserError

UNKNOWN = -1
NAMES = ("patch_classes", "slot_classes", "pictures", "patches", "pairs", "slots")


@dataclass(frozen=True)
class Labels:
    """Rows by id. P patches of a picture from left to right and down; S slots of a medium."""

    patch_classes: tuple[str, ...]
    slot_classes: tuple[str, ...]
    pictures: dict[str, int]
    patches: NDArray[np.int8]  # (n, P)
    pairs: dict[str, int]
    slots: NDArray[np.int8]  # (m, S)

    @staticmethod
    def of(
        patch_classes: Sequence[str],
        slot_classes: Sequence[str],
        pictures: Sequence[str],
        patches: NDArray[np.integer],
        pairs: Sequence[str],
        slots: NDArray[np.integer],
    ) -> Labels:
        """Labels of these ids, row by row."""
        return Labels(
            tuple(patch_classes),
            tuple(slot_classes),
            {name: at for at, name in enumerate(pictures)},
            patches.astype(np.int8),
            {name: at for at, name in enumerate(pairs)},
            slots.astype(np.int8),
        )

    @staticmethod
    def read(path: Path) -> Labels:
        """The labels at `path`. Raises UserError where it holds none."""
        try:
            with np.load(path, allow_pickle=False) as file:
                one = {name: file[name] for name in NAMES}
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise UserError(
                f"{path} should be an .npz with {', '.join(NAMES)} ({error})"
            ) from error
        for ids, rows in (("pictures", "patches"), ("pairs", "slots")):
            if one[rows].ndim != 2 or len(one[rows]) != len(one[ids]):
                raise UserError(
                    f"{path} has {len(one[ids])} {ids} and {rows} of shape {one[rows].shape}; "
                    "a row for each is expected"
                )
        classes, slots, pictures, pairs = (
            [str(name) for name in one[key]]
            for key in ("patch_classes", "slot_classes", "pictures", "pairs")
        )
        return Labels.of(classes, slots, pictures, one["patches"], pairs, one["slots"])

    def patches_of(self, picture: str) -> NDArray[np.int64]:
        """(P,) of a picture; UNKNOWN all over where it has none."""
        return _row(self.patches, self.pictures.get(picture))

    def slots_of(self, pair: str) -> NDArray[np.int64]:
        """(S,) of the medium of a pair, likewise."""
        return _row(self.slots, self.pairs.get(pair))

    def write(self, path: Path) -> None:
        """Write them, compressed."""
        np.savez_compressed(
            path,
            patch_classes=np.array(self.patch_classes),
            slot_classes=np.array(self.slot_classes),
            pictures=np.array(list(self.pictures)),
            patches=self.patches,
            pairs=np.array(list(self.pairs)),
            slots=self.slots,
        )


def _row(rows: NDArray[np.int8], at: int | None) -> NDArray[np.int64]:
    if at is None:
        return np.full(rows.shape[1], UNKNOWN, np.int64)
    row: NDArray[np.int64] = rows[at].astype(np.int64)
    return row
