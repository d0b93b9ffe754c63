"""A stand-in for `tensorrt` that computes: an engine is an ONNX file and its profiles' shapes.

ONNX Runtime runs it at the addresses it was given, in the memory of `fake_cuda`. What TensorRT
refuses is refused: addresses off their alignment, shapes outside the profile, a profile taken
twice, a capture of a context that was never run, a network that is not strongly typed. Names and
arguments are those that SIGNATURES lists.
"""

from __future__ import annotations

import ctypes
import json
import types
from enum import IntEnum
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tests.runtime.fake_cuda import ALIGNMENT, Cuda

# As the bindings of TensorRT 10.3.0 and 11.4.0.106 (cp311, x86-64) tell them, read off their
# docstrings: class, function, the arguments of each overload. "property" is no function.
SIGNATURES: dict[str, dict[str, Any]] = {
    "Builder": {
        "__init__": [["logger"]],
        "build_serialized_network": [["network", "config"]],
        "create_builder_config": [[]],
        "create_network": [["flags"]],
        "create_optimization_profile": [[]],
    },
    "IBuilderConfig": {
        "add_optimization_profile": [["profile"]],
        "create_timing_cache": [["serialized_timing_cache"]],
        "get_timing_cache": [[]],
        "set_timing_cache": [["cache", "ignore_mismatch"]],
        "set_memory_pool_limit": [["pool", "pool_size"]],
        "progress_monitor": "property",
    },
    "IOptimizationProfile": {"set_shape": [["input", "min", "opt", "max"]]},
    "OnnxParser": {
        "__init__": [["network", "logger"]],
        "parse_from_file": [["model"]],
        "get_error": [["index"]],
        "num_errors": "property",
    },
    "ParserError": {"desc": [[]]},
    "Runtime": {
        "__init__": [["logger"]],
        "deserialize_cuda_engine": [["serialized_engine"]],
    },
    "ICudaEngine": {"create_execution_context": [["strategy"]]},
    "IExecutionContext": {
        "execute_async_v3": [["stream_handle"]],
        "set_input_shape": [["name", "shape"]],
        "set_optimization_profile_async": [["profile_index", "stream_handle"]],
        "set_tensor_address": [["name", "memory"]],
        "get_tensor_shape": [["name"]],
    },
    "ITimingCache": {"serialize": [[]]},
    "IProgressMonitor": {
        "__init__": [[]],
        "phase_start": [["phase_name", "parent_phase", "num_steps"]],
        "phase_finish": [["phase_name"]],
        "step_complete": [["phase_name", "step"]],
    },
    "Logger": {"__init__": [["min_severity"]]},
}


class Trt(types.ModuleType):
    """`tensorrt`, on the memory of `cuda`; `wrong` engines answer with noise added."""

    class NetworkDefinitionCreationFlag(IntEnum):
        STRONGLY_TYPED = 1

    class MemoryPoolType(IntEnum):
        WORKSPACE = 0

    class ExecutionContextAllocationStrategy(IntEnum):
        STATIC = 0
        ON_PROFILE_CHANGE = 1

    def __init__(self, cuda: Cuda, version: str = "10.3.0") -> None:
        super().__init__("tensorrt")
        self.__spec__ = ModuleSpec("tensorrt", None)  # torch looks for it
        self.__version__ = version
        self.cuda = cuda
        self.wrong = ""  # the graph whose engines answer wrongly
        self.built: list[dict[str, Any]] = []
        for kind in (Builder, OnnxParser, Runtime, Logger, IProgressMonitor):
            setattr(self, kind.__name__, type(kind.__name__, (kind,), {"trt": self}))


class Logger:
    WARNING: ClassVar[int] = 2
    trt: ClassVar[Trt]

    def __init__(self, min_severity: int = 2) -> None:
        self.min_severity = min_severity


class IProgressMonitor:
    trt: ClassVar[Trt]

    def __init__(self) -> None:
        self.made = True

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None: ...

    def phase_finish(self, phase_name: str) -> None: ...

    def step_complete(self, phase_name: str, step: int) -> bool:
        return True


class ParserError:
    def __init__(self, told: str) -> None:
        self.told = told

    def desc(self) -> str:
        return self.told


class Network:
    def __init__(self, flags: int) -> None:
        self.strongly_typed = bool(flags & 2)
        self.path = ""


class OnnxParser:
    trt: ClassVar[Trt]

    def __init__(self, network: Network, logger: Logger) -> None:
        self.network = network
        self.errors: list[str] = []

    @property
    def num_errors(self) -> int:
        return len(self.errors)

    def get_error(self, index: int) -> ParserError:
        return ParserError(self.errors[index])

    def parse_from_file(self, model: str) -> bool:
        try:
            onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        except Exception as error:
            self.errors.append(str(error).splitlines()[0])
            return False
        self.network.path = model
        return True


class ITimingCache:
    def __init__(self, known: bytes) -> None:
        self.known = known

    def serialize(self) -> bytes:
        return self.known


class IOptimizationProfile:
    def __init__(self) -> None:
        self.shapes: dict[str, list[tuple[int, ...]]] = {}

    def set_shape(
        self, input: str, min: tuple[int, ...], opt: tuple[int, ...], max: tuple[int, ...]
    ) -> None:
        assert all(a <= b <= c for a, b, c in zip(min, opt, max, strict=True))
        self.shapes[input] = [tuple(min), tuple(opt), tuple(max)]


class IBuilderConfig:
    VALID = b"timings of "

    def __init__(self, trt: Trt) -> None:
        self.trt = trt
        self.progress_monitor: Any = None
        self.profiles: list[IOptimizationProfile] = []
        self.pools: dict[int, int] = {}
        self.cache = ITimingCache(b"")

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache:
        return ITimingCache(bytes(serialized_timing_cache))

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        mine = self.VALID + self.trt.__version__.encode()
        if cache.known and cache.known != mine and not ignore_mismatch:
            return False
        self.cache = cache
        return True

    def get_timing_cache(self) -> ITimingCache:
        return self.cache

    def set_memory_pool_limit(self, pool: int, pool_size: int) -> None:
        self.pools[pool] = pool_size


class Builder:
    trt: ClassVar[Trt]

    def __init__(self, logger: Logger) -> None:
        if not self.trt.cuda.devices:  # what pybind11 says where there is no driver
            raise TypeError("pybind11::init(): factory function returned nullptr")

    def create_network(self, flags: int = 0) -> Network:
        return Network(flags)

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig(self.trt)

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(self, network: Network, config: IBuilderConfig) -> bytes | None:
        if not network.strongly_typed:
            return None
        monitor = config.progress_monitor
        monitor.phase_start("Building", None, 2)
        for step in range(2):
            if not monitor.step_complete("Building", step):
                return None
        monitor.phase_finish("Building")
        warm = bool(config.cache.known)
        config.cache.known = IBuilderConfig.VALID + self.trt.__version__.encode()
        plan = {
            "path": network.path,
            "profiles": [profile.shapes for profile in config.profiles],
            "wrong": bool(self.trt.wrong) and self.trt.wrong in Path(network.path).name,
        }
        self.trt.built.append({"warm": warm, "pools": config.pools, **plan})
        return json.dumps(plan).encode()


class Runtime:
    trt: ClassVar[Trt]

    def __init__(self, logger: Logger) -> None:
        self.logger = logger

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        try:
            return ICudaEngine(self.trt.cuda, json.loads(bytes(serialized_engine)))
        except ValueError:
            return None


class ICudaEngine:
    def __init__(self, cuda: Cuda, plan: dict[str, Any]) -> None:
        self.cuda = cuda
        self.plan = plan
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        providers = ["CPUExecutionProvider"]
        self.session = onnxruntime.InferenceSession(plan["path"], options, providers=providers)
        self.taken: set[int] = set()

    def create_execution_context(self, strategy: int = 0) -> IExecutionContext:
        return IExecutionContext(self)


class IExecutionContext:
    """Runs the session at the addresses it was given."""

    def __init__(self, engine: ICudaEngine) -> None:
        self.engine = engine
        self.cuda = engine.cuda
        self.inputs = {value.name: value for value in engine.session.get_inputs()}
        self.outputs = {value.name: value for value in engine.session.get_outputs()}
        self.addresses: dict[str, int] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.profile: dict[str, Any] | None = None
        self.ready = False  # run once since shapes or addresses changed

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        if profile_index in self.engine.taken:  # another context has it
            return False
        self.engine.taken.add(profile_index)
        self.profile = self.engine.plan["profiles"][profile_index]
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        if name not in self.inputs or self.profile is None:
            return False
        allowed = self.profile.get(name)
        if allowed is None:
            fits = tuple(shape) == tuple(self.inputs[name].shape)
        else:
            least, _, most = allowed
            fits = len(shape) == len(least) and all(
                a <= d <= b for a, d, b in zip(least, shape, most, strict=True)
            )
        if fits:
            self.shapes[name] = tuple(shape)
            self.ready = False
        return fits

    def set_tensor_address(self, name: str, memory: int) -> bool:
        if name not in self.inputs | self.outputs or memory % ALIGNMENT:
            return False
        self.addresses[name] = memory
        self.ready = False
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        if name in self.inputs:
            return self.shapes.get(name, (-1,))
        sizes = {
            symbol: size
            for given, shape in self.shapes.items()
            for symbol, size in zip(self.inputs[given].shape, shape, strict=True)
            if isinstance(symbol, str)
        }
        return tuple(sizes[d] if isinstance(d, str) else d for d in self.outputs[name].shape)

    def execute_async_v3(self, stream_handle: int) -> bool:
        if stream_handle != Cuda.STREAM or set(self.addresses) < set(self.inputs | self.outputs):
            return False
        if self.cuda.recording is not None and not self.ready:
            return False
        shapes = {name: self.get_tensor_shape(name) for name in self.addresses}
        if any(-1 in shape for shape in shapes.values()):
            return False
        arrays = {name: self.view(name, at, shapes[name]) for name, at in self.addresses.items()}
        if any(array is None for array in arrays.values()):
            return False
        self.cuda.do("enqueue", lambda: self.compute(arrays))
        self.ready = True
        return True

    def compute(self, arrays: dict[str, Any]) -> None:
        feeds = {name: arrays[name] for name in self.inputs}
        for name, value in zip(
            self.outputs, self.engine.session.run(list(self.outputs), feeds), strict=True
        ):
            noise = np.random.default_rng(0).standard_normal(value.shape)
            arrays[name][...] = value + noise * value.std() if self.engine.plan["wrong"] else value

    def view(self, name: str, address: int, shape: tuple[int, ...]) -> NDArray[Any] | None:
        integer = (self.inputs | self.outputs)[name].type == "tensor(int64)"
        kind: np.dtype[Any] = np.dtype(np.int64 if integer else np.float32)
        count = int(np.prod(shape)) * kind.itemsize
        if not self.cuda.holds(address, count):
            return None
        block = (ctypes.c_char * count).from_address(address)
        return np.frombuffer(memoryview(block), kind).reshape(shape)
