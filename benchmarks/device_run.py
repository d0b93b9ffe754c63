"""One ONNX graph bound to a device: its milliseconds and launches; and the device's rates.

Dimensions are fixed when the session opens, so that shapes fold away and CUDA can replay the run
as one graph. Works on the CPU provider too, where there is nothing to replay.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from otter_runtime.errors import UserError

PROVIDERS = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}
KINDS = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(int64)": np.int64}
Arrays = Mapping[str, NDArray[Any]]


class DeviceRun:
    """A session on `provider` with all dimensions fixed and all tensors bound on its device."""

    def __init__(
        self,
        path: Path,
        provider: str,
        sizes: Mapping[str, int],
        feeds: Arrays,
        replay: bool = False,
        profile: bool = False,
    ) -> None:
        self._device = provider
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        for name, size in sizes.items():
            options.add_free_dimension_override_by_name(name, size)
        options.enable_profiling = profile
        self._folder = tempfile.mkdtemp(prefix="otter-run-") if profile else None
        options.profile_file_prefix = f"{self._folder}/run"
        names = [PROVIDERS[provider]]
        settings: list[dict[str, str]] = [{}]
        if replay:
            settings = [{"enable_cuda_graph": "1"}]
        self.session = onnxruntime.InferenceSession(
            str(path), options, providers=names, provider_options=settings
        )
        if names[0] not in self.session.get_providers():
            raise UserError(
                f"onnxruntime could not start {names[0]}, above it says why; its CUDA and cuDNN "
                "come with: pip install 'onnxruntime-gpu[cuda,cudnn]'"
            )
        self._binding = self.session.io_binding()
        self._bound = [self._bind(value, feeds, sizes) for value in self.session.get_inputs()]
        self._given = [self._place(value, sizes) for value in self.session.get_outputs()]

    def __call__(self) -> None:
        """Run once; waits for the device."""
        self.session.run_with_iobinding(self._binding)
        self._binding.synchronize_outputs()

    def first_output(self) -> NDArray[Any]:
        """The first output of the last run, copied to the host."""
        copied: NDArray[Any] = self._given[0].numpy()
        return copied

    def launches(self) -> int:
        """Operators of one run: kernels, but for those that launch several or none. Once only."""
        assert self._folder is not None
        self()
        events = json.loads(Path(self.session.end_profiling()).read_text())
        shutil.rmtree(self._folder)
        runs: int = sum(event.get("name") == "model_run" for event in events)
        kernels: int = sum(event.get("name", "").endswith("_kernel_time") for event in events)
        return kernels // max(runs, 1)

    def _bind(self, value: Any, feeds: Arrays, sizes: Mapping[str, int]) -> Any:
        shape = _shape(value, sizes)
        array = feeds.get(value.name, np.zeros(shape, KINDS[value.type]))
        array = np.broadcast_to(array, shape).astype(KINDS[value.type])
        bound = onnxruntime.OrtValue.ortvalue_from_numpy(array, self._device, 0)
        self._binding.bind_ortvalue_input(value.name, bound)
        return bound

    def _place(self, value: Any, sizes: Mapping[str, int]) -> Any:
        array = np.zeros(_shape(value, sizes), KINDS[value.type])
        placed = onnxruntime.OrtValue.ortvalue_from_numpy(array, self._device, 0)
        self._binding.bind_ortvalue_output(value.name, placed)
        return placed


def require_provider(provider: str) -> None:
    """UserError where this onnxruntime lacks the provider, or the provider a GPU."""
    wanted, available = PROVIDERS[provider], onnxruntime.get_available_providers()
    if wanted not in available:
        raise UserError(
            f"this onnxruntime {onnxruntime.__version__} has no {wanted} (it has "
            f"{', '.join(available)}); run this where onnxruntime-gpu and an NVIDIA GPU are, "
            "or try it out with: --provider cpu --random tiny"
        )
    if provider == "cuda":
        onnxruntime.preload_dlls()  # those of torch's or NVIDIA's wheels, where they are


def milliseconds(step: Callable[[], object], budget_s: float) -> float:
    """Median of at least 5 runs after 3 to warm up (and to capture a CUDA graph)."""
    for _ in range(3):
        step()
    spans: list[float] = []
    end = time.perf_counter() + budget_s
    while len(spans) < 5 or (len(spans) < 500 and time.perf_counter() < end):
        begun = time.perf_counter()
        step()
        spans.append(time.perf_counter() - begun)
    return float(np.median(spans)) * 1e3


def copy_rate(provider: str, mib: int, budget_s: float) -> float:
    """GB/s that the device reads and writes together, adding 1 to `mib` MiB of floats."""
    count = mib << 18
    run = _operator(provider, "Add", [count], np.float32(1))
    return 2 * count * 4 / milliseconds(run, budget_s) / 1e6


def matmul_rate(provider: str, side: int, budget_s: float) -> float:
    """TFLOP/s of a square product, in float16 on a GPU and float32 on a CPU."""
    kind = np.float16 if provider == "cuda" else np.float32
    run = _operator(provider, "MatMul", [side, side], np.full((side, side), 0.5, kind))
    return 2 * side**3 / milliseconds(run, budget_s) / 1e9


def memory_gb(provider: str) -> float:
    """GB in use: on a GPU what nvidia-smi says (the arena keeps its peak), else this process's."""
    if provider == "cpu":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    words = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    return int(told.splitlines()[0]) * (1 << 20) / 1e9


def _operator(provider: str, kind: str, shape: list[int], operand: Any) -> DeviceRun:
    """One operator on an input of `shape` and a constant, with a result of the same shape."""
    weight = numpy_helper.from_array(np.asarray(operand), "operand")
    graph = helper.make_graph(
        [helper.make_node(kind, ["x", "operand"], ["y"])],
        kind,
        [helper.make_tensor_value_info("x", weight.data_type, shape)],
        [helper.make_tensor_value_info("y", weight.data_type, shape)],
        [weight],
    )
    opsets = [helper.make_opsetid("", 20)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rate.onnx"
        onnx.save(model, str(path))
        return DeviceRun(path, provider, {}, {})


def _shape(value: Any, sizes: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(sizes[d] if isinstance(d, str) else d for d in value.shape)
