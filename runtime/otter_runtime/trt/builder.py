"""Graphs to engines, on the device: strongly typed, timing cache kept, golden answers held.

Precision comes from the graphs' types and Q/DQ nodes alone; there is no precision flag. Nothing
is installed before it has answered as the bundle says.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from otter_runtime.bundle import GRAPHS, Bundle, file_sha256
from otter_runtime.errors import BundleError, UserError
from otter_runtime.golden import check, load_golden, require
from otter_runtime.trt.engine import NativeEngine
from otter_runtime.trt.gpu import Gpu
from otter_runtime.trt.plans import (
    FOLDER,
    RECORD,
    Plans,
    Record,
    graphs_hash,
    plans_folder,
    tensorrt,
)
from otter_runtime.trt.profiles import profiles, shapes

# A Jetson's memory is the system's: without a limit TensorRT tries tactics that take all of it.
WORKSPACE_BYTES = 1 << 30

Progress = Callable[[str, int, int], None]


def build(
    bundle: Bundle, progress: Progress, workspace: int = WORKSPACE_BYTES, rebuild: bool = False
) -> Plans:
    """Build, check against golden.npz and install the engines of `bundle` for this GPU.

    What is there is kept unless `rebuild`. Raises UserError without TensorRT, a GPU or a folder
    to write to, BundleError where the graphs are refused or the engines answer otherwise.
    """
    trt, gpu = tensorrt(), Gpu()
    folder = plans_folder(bundle, gpu.name, trt.__version__)
    if (folder / RECORD).is_file() and not rebuild:
        return Plans.load(folder)
    partial = folder.with_name(folder.name + ".partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        plans = _write(bundle, trt, gpu, partial, progress, workspace)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written ({error.strerror}); copy the bundle to a folder of yours"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Plans(folder, plans.record)


def _write(
    bundle: Bundle, trt: Any, gpu: Gpu, folder: Path, progress: Progress, workspace: int
) -> Plans:
    begun = time.monotonic()
    timings = bundle.path / FOLDER / f"{gpu.name}-{trt.__version__}.timing"
    for name in GRAPHS:
        plan = build_plan(trt, bundle, name, timings, progress, workspace)
        (folder / f"{name}.plan").write_bytes(plan)  # as it lies there: it may be gigabytes
    files = {f"{name}.plan": file_sha256(folder / f"{name}.plan") for name in GRAPHS}
    record = Record(gpu=gpu.name, tensorrt=trt.__version__, graphs=graphs_hash(bundle), files=files)
    progress("golden answers", 0, 1)
    manifest = bundle.manifest
    engine = NativeEngine(bundle, Plans(folder, record), trt, gpu)
    figures = check(engine, load_golden(bundle), manifest.decoding, manifest.tokens)
    require(figures, manifest.verification)
    progress("golden answers", 1, 1)
    record = msgspec.structs.replace(
        record,
        figures=msgspec.to_builtins(figures),
        seconds=round(time.monotonic() - begun, 1),
    )
    (folder / RECORD).write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=1))
    return Plans(folder, record)


def build_plan(
    trt: Any, bundle: Bundle, name: str, timings: Path, progress: Progress, workspace: int
) -> Any:
    """The serialized engine of graph `name`; BundleError where TensorRT refuses it."""
    logger = trt.Logger(trt.Logger.WARNING)
    try:
        builder = trt.Builder(logger)
    except TypeError as error:  # its constructor gives nothing where there is no driver
        raise UserError(
            f"TensorRT {trt.__version__} finds no usable GPU; see `nvidia-smi` and the driver"
        ) from error
    strongly_typed = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(strongly_typed)
    graph = getattr(bundle.manifest.graphs, name)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(bundle.path / graph.file)):
        told = "; ".join(parser.get_error(i).desc() for i in range(parser.num_errors))
        raise BundleError(
            f"TensorRT {trt.__version__} does not take {graph.file} ({told}); "
            "see `otter-edge lint` on a workstation"
        )
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace)
    config.progress_monitor = _monitor(trt, name, progress)
    known = timings.read_bytes() if timings.is_file() else b""
    # Timings of another TensorRT or GPU are refused by it, and then it starts anew.
    if not config.set_timing_cache(config.create_timing_cache(known), ignore_mismatch=False):
        config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)
    for ranges in profiles(bundle.manifest, name):
        profile = builder.create_optimization_profile()
        for tensor, (least, usual, most) in shapes(graph, ranges).items():
            profile.set_shape(tensor, least, usual, most)
        if config.add_optimization_profile(profile) < 0:
            raise BundleError(f"TensorRT refuses the shapes {ranges} of {graph.file}; report this")
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise BundleError(
            f"TensorRT {trt.__version__} builds no engine of {graph.file}, above it says why; "
            "where memory ran out, close other programs or give --workspace-mb less"
        )
    timings.write_bytes(config.get_timing_cache().serialize())
    return plan


def _monitor(trt: Any, graph: str, progress: Progress) -> Any:
    """Told of TensorRT's phases; it is a class of TensorRT's, so it is made when that is there."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.steps[phase_name] = num_steps
            progress(f"{graph}: {phase_name}", 0, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            progress(f"{graph}: {phase_name}", step + 1, self.steps.get(phase_name, step + 1))
            return True  # go on

        def phase_finish(self, phase_name: str) -> None:
            self.steps.pop(phase_name, None)

    return Monitor()
