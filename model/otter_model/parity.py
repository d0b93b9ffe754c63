"""Does this package compute what the reference computed? One golden case in, a verdict out."""

from __future__ import annotations

from pathlib import Path

import torch

from otter_model.beam import beam_search
from otter_model.cross_attention import Media
from otter_model.generate import Controls, Mode, greedy
from otter_model.golden import GoldenCase, Run, Verdict
from otter_model.otter import Otter

# The reference's demos forbid repeated trigrams, and so do the golden beam searches.
BEAM_NGRAM = 3


def run_case(case_dir: str | Path) -> Verdict:
    """Runs everything the case has: logits as a batch, generation row by row.

    Raises CheckpointError, ConfigError, or TooManyImages where a prompt has too few media.
    """
    case = GoldenCase.open(case_dir)
    otter = case.checkpoint.build().requires_grad_(False)
    ids, mask = torch.from_numpy(case.input_ids), torch.from_numpy(case.attention_mask)
    logits = otter(torch.from_numpy(case.vision_x), ids, mask)
    rows = [otter.look(torch.from_numpy(row)) for row in case.vision_x[:, None]]
    return Verdict(
        case=case.name,
        max_abs_logit_diff=case.logit_difference(logits.numpy()),
        ids_equal_seeing=_greedy(case, otter, rows, "seeing"),
        ids_equal_blind=_greedy(case, otter, rows, "blind"),
        ids_equal_beam3=_both(
            _beam(case, otter, rows, "seeing"),
            _beam(case, otter, rows, "blind"),
        ),
    )


def _greedy(case: GoldenCase, otter: Otter, media: list[Media], mode: Mode) -> bool | None:
    if not case.expected(mode):
        return None
    controls = Controls(case.max_new_tokens, mode=mode)
    prompts = zip(media, case.input_ids.tolist(), case.attention_mask.tolist(), strict=True)
    return case.same(mode, [greedy(otter, m, ids, controls, mask).ids for m, ids, mask in prompts])


def _beam(case: GoldenCase, otter: Otter, media: list[Media], mode: Mode) -> bool | None:
    run: Run = "beam3_seeing" if mode == "seeing" else "beam3_blind"
    if not case.expected(run):
        return None
    controls = Controls(case.max_new_tokens, no_repeat_ngram=BEAM_NGRAM, mode=mode)
    prompts = zip(media, case.input_ids.tolist(), case.attention_mask.tolist(), strict=True)
    rows = [beam_search(otter, m, ids, controls, 3, mask) for m, ids, mask in prompts]
    return case.same(run, rows)


def _both(*verdicts: bool | None) -> bool | None:
    known = [verdict for verdict in verdicts if verdict is not None]
    return all(known) if known else None
