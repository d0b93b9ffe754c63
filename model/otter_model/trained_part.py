"""The part of an Otter that was trained, laid over a whole one.

Otter's training saves what it trained alone (`final_weights.pt`, `checkpoint_N.pt`): resampler,
gated cross-attentions and embeddings, under the names that the whole has.
"""

from __future__ import annotations

from otter_model.errors import CheckpointError
from otter_model.tensors import Entries, listed

_GATED = ".gated_cross_attn_layer."
_RESAMPLER = "perceiver."
# Tables whose rows grow with the tokens that training added.
_TABLES = (".wte.weight", ".embed_tokens.weight", "lang_encoder.lm_head.weight")


def lay_over(base: Entries, part: Entries, source: str) -> Entries:
    """`base` with the tensors of `part` in place of its own; `source` names the part in errors.

    Raises CheckpointError for a tensor that the base does not have or has in another shape, and
    for a resampler or gated layers that are there in part only.
    """
    if unknown := set(part) - set(base):
        raise CheckpointError(
            f"{source} has {listed(unknown)}, which the base lacks; "
            "give the base that it was trained from"
        )
    for name, entry in part.items():
        if entry.shape[1:] != base[name].shape[1:] or (
            entry.shape[:1] != base[name].shape[:1] and not name.endswith(_TABLES)
        ):
            raise CheckpointError(
                f"{name} should have shape {base[name].shape} as in the base, but has "
                f"{entry.shape} in {source}; give the base that it was trained from"
            )
    _require_whole(base, part, source)
    return base | part


def _require_whole(base: Entries, part: Entries, source: str) -> None:
    """What was trained together is there together, or not at all."""
    for piece in (_RESAMPLER, _GATED):
        wanted = {name for name in base if _belongs(name, piece)}
        missing = wanted - set(part)
        if missing and missing != wanted:
            raise CheckpointError(
                f"{source} lacks {listed(missing)}, although it has others of "
                f"{piece.strip('.')}; fetch it again"
            )


def _belongs(name: str, piece: str) -> bool:
    return name.startswith(piece) or (piece == _GATED and piece in name)
