"""FSDP where there is no accelerator: torch shards over gloo too, only Accelerate asks for GPUs.

Accelerate takes `ACCELERATE_USE_FSDP` (what its launcher sets for `distributed_type: FSDP`) for
processes on GPUs and makes plain DDP of those on a CPU, without a word. Everything behind that one
choice works on a CPU, so the choice is made here.
"""

from __future__ import annotations

import os

from accelerate import Accelerator, PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin


def shard_without_accelerators(accelerator: Accelerator) -> None:
    """Make DDP on a CPU the FSDP that was asked for; anything else stays as it is."""
    asked = os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"
    if asked and accelerator.distributed_type == DistributedType.MULTI_CPU:
        # Both, because the one copies the other each time that somebody asks for it.
        PartialState().distributed_type = DistributedType.FSDP
        accelerator.state.distributed_type = DistributedType.FSDP
        accelerator.state.fsdp_plugin = FullyShardedDataParallelPlugin()
