"""The run: step after step on any number of processes, kept so that a kill costs a few steps.

Everything that a step depends on is in the state that is kept (weights, optimizer) or follows from
seed and step (order, rate); so a run that goes on is the run that was never cut, bit for bit on a
CPU.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, DistributedType, set_seed
from safetensors.torch import save_file
from torch import Tensor

from otter_model.checkpoint import open_checkpoint, save
from otter_model.otter import Otter
from otter_runtime.errors import UserError
from otter_tuning.training.batch import Batch
from otter_tuning.training.config import AugmentConfig, TuneConfig
from otter_tuning.training.corpus import Corpus
from otter_tuning.training.encoding import Encoder
from otter_tuning.training.log import Log
from otter_tuning.training.mixing import Planned, plan, share
from otter_tuning.training.objective import Objective
from otter_tuning.training.optimizers import optimizers, share_of_rate
from otter_tuning.training.parameters import add_lora, choose, quantize
from otter_tuning.training.probe import Probe
from otter_tuning.training.sharding import shard_without_accelerators

STATE, PLACE, ADAPTER = "state", "place.json", "adapter"
STORED = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
MOST_FRAMES = 16  # of a video, where the network does not tell them apart


@dataclass(frozen=True)
class Place:
    """Where a run is: steps made, and the time they took."""

    step: int = 0
    seconds: float = 0.0


class Run:
    """One run of `config`, in the folder `config.out`; it goes on from the state it finds there."""

    def __init__(
        self,
        config: TuneConfig,
        encoder: Encoder,
        otter: Otter,
        corpus: Corpus,
        validation: Corpus | None,
    ) -> None:
        self.config, self.corpus, self.validation = config, corpus, validation
        self.out, self._encoder = Path(config.out), encoder
        set_seed(config.seed)
        unused = DistributedDataParallelKwargs(find_unused_parameters=True)
        self.accelerator = Accelerator(
            # Said, because Accelerate's launcher does not pass it on to several processes.
            cpu=not torch.cuda.is_available(),
            mixed_precision="bf16" if config.precision == "bf16" else "no",
            kwargs_handlers=[unused],
        )
        shard_without_accelerators(self.accelerator)
        self.learning = choose(otter, config.train)
        self.adapter = self._adapt(otter)
        self._plain = otter
        sharded = self.accelerator.distributed_type == DistributedType.FSDP
        if sharded and config.optimizer == "muon":
            raise UserError("Muon moves whole matrices, FSDP holds parts; take adamw, or DDP")
        objective = Objective(otter, self._probe(otter), complete=sharded)
        self.objective, *self.optimizers = self.accelerator.prepare(
            objective, *optimizers(objective, config)
        )
        self.steps = self._count()
        self.place = self._found()
        self.log = Log(self.out, self.place.step) if self.accelerator.is_main_process else None

    def _adapt(self, otter: Otter) -> dict[str, Any] | None:
        lora = self.config.lora
        if lora is None:
            return None
        if lora.bits == 4:
            quantize(otter)
        return add_lora(otter, lora.rank, lora.alpha, lora.targets)

    def _probe(self, otter: Otter) -> Probe | None:
        if self.config.probe is None:
            return None
        if self.corpus.labels is None:
            raise UserError("a probe learns from dense labels; give a source of the mixture some")
        network, weights = otter.config, self.config.probe.weights
        return Probe(self.corpus.labels, network.vision.dim, network.perceiver.dim, weights)

    def _count(self) -> int:
        """Steps of the whole run."""
        batches = plan(self.corpus.units, self.config.batch, 0, self.config.seed)
        world = self.accelerator.num_processes
        epoch = len(share(batches, 0, world)) // self.config.accumulate
        if epoch == 0:
            raise UserError(
                f"{len(batches)} batches do not make one step of {world} processes with "
                f"accumulate {self.config.accumulate}; give more samples or a smaller batch"
            )
        self._epoch_steps = epoch
        return self.config.steps or epoch * self.config.epochs

    # The steps.

    def run(self) -> Path:
        """All that is left; writes the tuned checkpoint and gives its folder."""
        began = time.monotonic()
        if self.log is not None:
            print(self.describe(), file=sys.stderr, flush=True)
        for step, batches in self._ahead():
            values = self.step(step, batches)
            made, before = step + 1, self.place.seconds
            self._report(made, values, before + time.monotonic() - began)
            if made % self.config.keep_every == 0 or made == self.steps:
                self._keep(Place(made, before + time.monotonic() - began))
        # Shards are gathered by all processes, and written by one.
        state = self.accelerator.get_state_dict(self.objective)
        if self.accelerator.is_main_process:
            self._write(state)
        self.accelerator.wait_for_everyone()
        return self.out

    def describe(self) -> str:
        """Processes, device, what learns: one line."""
        count = sum(p.numel() for p in self.objective.parameters() if p.requires_grad)
        accelerator = self.accelerator
        return (
            f"{accelerator.num_processes} process(es), {accelerator.distributed_type.value}, "
            f"{accelerator.device}, {self.config.precision}; {self.steps} steps from "
            f"{self.place.step}; {count:,} parameters learn ({', '.join(self.config.train)})"
        )

    def step(self, step: int, batches: list[Batch]) -> dict[str, float]:
        """One step of the optimizer over `batches`; the loss is a mean over learned tokens."""
        self.objective.train()
        device = self.accelerator.device
        learned = torch.tensor(float(sum(batch.learned for batch in batches)), device=device)
        tokens = float(self.accelerator.reduce(learned, "sum"))
        total = torch.zeros(3, device=device)
        # Processes' gradients are averaged: each gives `world` times its share of the words' mean.
        world, speak = self.accelerator.num_processes, self._speaks(step)
        weights = torch.tensor([world / tokens, *self._probe_weights(len(batches))], device=device)
        for batch in batches:
            with self.accelerator.autocast():
                losses = self.objective(batch.to(device), speak)[:3]
            total += losses.detach()
            self.accelerator.backward((losses * weights).sum())
        norm = self.accelerator.clip_grad_norm_(self.objective.parameters(), self.config.clip)
        rate = self.config.rate * share_of_rate(self.config, step, self.steps)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad()
        nats, patch, slot = self.accelerator.reduce(total, "sum").tolist()
        told = {"loss": nats / tokens} if speak else {}
        if self.config.probe is not None:
            told |= {"patch": patch / len(batches) / world, "slot": slot / len(batches) / world}
        return {
            **told,
            "norm": float(norm) if norm is not None else math.nan,
            "rate": rate,
            "tokens": tokens,
        }

    def _speaks(self, step: int) -> bool:
        """Whether the language model takes part."""
        return self.config.probe is None or step >= self.config.probe.steps

    def _probe_weights(self, batches: int) -> tuple[float, float]:
        probe = self.config.probe
        return (0.0, 0.0) if probe is None else (probe.patches / batches, probe.slots / batches)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Loss and share of right tokens on the validation mixture, every sample once."""
        assert self.validation is not None
        self.objective.eval()
        device = self.accelerator.device
        sums = torch.zeros(5, device=device)
        planned = plan(self.validation.units, self.config.batch, 0, 0)
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        for start in range(0, len(planned), world):
            # Processes step together: one that has no batch left takes the first, for nothing.
            mine = start + rank < len(planned)
            batch = self.validation.batch(planned[start + rank] if mine else planned[0]).to(device)
            with self.accelerator.autocast():
                sums += self.objective(batch) * float(mine)
        nats, patch, slot, right, learned = self.accelerator.reduce(sums, "sum").tolist()
        told = {"loss": nats / learned, "right": right / learned, "tokens": learned}
        if self.config.probe is not None:
            told |= {"patch": patch / len(planned), "slot": slot / len(planned)}
        return told

    def _ahead(self) -> Iterator[tuple[int, list[Batch]]]:
        """Every step that is left, with this process's batches."""
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        planned: list[Planned] = []
        of_epoch = -1
        for step in range(self.place.step, self.steps):
            epoch, at = divmod(step, self._epoch_steps)
            if epoch != of_epoch:
                whole = plan(self.corpus.units, self.config.batch, epoch, self.config.seed)
                planned, of_epoch = share(whole, rank, world), epoch
            start = at * self.config.accumulate
            chosen = planned[start : start + self.config.accumulate]
            yield step, [self.corpus.batch(one, epoch) for one in chosen]

    # What is told and kept.

    def _report(self, made: int, values: dict[str, float], seconds: float) -> None:
        epoch = round((made - 1) / self._epoch_steps, 3)
        last = made == self.steps
        if self.validation is not None and (made % self.config.validate_every == 0 or last):
            checked = self.validate()
            if self.log is not None:
                self.log.write("validation", made, epoch=epoch, **checked)
        if self.log is not None and (made % self.config.report_every == 0 or last):
            self.log.write("training", made, epoch=epoch, seconds=round(seconds, 2), **values)
            losses = [f"{n} {values[n]:.4f}" for n in ("loss", "patch", "slot") if n in values]
            told = f"step {made}/{self.steps}  {'  '.join(losses)}  {seconds:.0f} s"
            print(told, file=sys.stderr, flush=True)

    def _keep(self, place: Place) -> None:
        """Weights and optimizer, whole or not at all; the one before goes once this is there."""
        partial, kept = self.out / f"{STATE}.partial", self.out / STATE
        if self.accelerator.is_main_process:
            shutil.rmtree(partial, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        self.accelerator.save_state(str(partial))
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            (partial / PLACE).write_text(json.dumps({"step": place.step, "seconds": place.seconds}))
            old = self.out / f"{STATE}.old"
            shutil.rmtree(old, ignore_errors=True)
            if kept.exists():
                kept.rename(old)
            partial.rename(kept)
            shutil.rmtree(old, ignore_errors=True)
        self.accelerator.wait_for_everyone()

    def _found(self) -> Place:
        """The state in the folder, loaded; a kill between two renames leaves the old one."""
        for name in (STATE, f"{STATE}.old"):
            folder = self.out / name
            if (folder / PLACE).is_file():
                self.accelerator.load_state(str(folder))
                return Place(**json.loads((folder / PLACE).read_text()))
        return Place()

    def _write(self, gathered: dict[str, Tensor]) -> None:
        """The checkpoint that `otter-edge export` takes; with LoRA, an adapter beside the base."""
        state = {name.removeprefix("otter."): tensor for name, tensor in gathered.items()}
        folder = Path(self.config.checkpoint)
        base = open_checkpoint(folder).build()
        plain = {name.replace(".base_layer.", "."): tensor for name, tensor in state.items()}
        known = base.state_dict()
        learned = {
            name: tensor
            for name, tensor in plain.items()
            if name in known and tensor.shape == known[name].shape and tensor.is_floating_point()
        }
        base.load_state_dict(learned, strict=False)
        save(base.to(STORED[self.config.stored]), self.out)
        self._encoder.tokenizer.save(str(self.out / "tokenizer.json"))
        if self.adapter is not None:
            _write_adapter(self.out / ADAPTER, self.adapter, state)
        if self.log is not None:
            self.log.plot()
            self.log.close()


def _write_adapter(folder: Path, described: dict[str, Any], state: dict[str, Tensor]) -> None:
    """As peft does: adapter_config.json and adapter_model.safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps(described, indent=2) + "\n")
    factors = {
        f"base_model.model.{name.replace('.default.', '.')}": tensor.contiguous()
        for name, tensor in state.items()
        if "lora_" in name
    }
    save_file(factors, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def opened(config: TuneConfig) -> Run:
    """A run with everything that its configuration names. Raises UserError."""
    from tokenizers import Tokenizer

    from otter_model.errors import ModelError

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        checkpoint = open_checkpoint(config.checkpoint)
    except ModelError as error:
        raise UserError(str(error)) from error
    path = config.tokenizer or checkpoint.tokenizer
    if path is None:
        raise UserError(f"{config.checkpoint} has no tokenizer.json; give one as tokenizer")
    network = checkpoint.config
    encoder = Encoder(
        Tokenizer.from_file(str(path)),
        network.tokens,
        config.template,
        min(config.most_tokens, network.decoder.max_positions),
    )
    frames = config.frames or network.perceiver.max_frames or MOST_FRAMES

    def corpus(mixture: str, augment: AugmentConfig | None = None) -> Corpus:
        return Corpus(
            Path(mixture),
            encoder,
            network,
            config.examples,
            frames,
            config.squash,
            config.seed,
            augment,
            config.together,
        )

    validation = None if config.validation is None else corpus(config.validation)
    training = corpus(config.mixture, config.augment)
    return Run(config, encoder, checkpoint.build(), training, validation)
