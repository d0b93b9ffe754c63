"""The GPU by cuda-bindings: its name, memory, one stream, CUDA graphs. It knows no TensorRT."""

from __future__ import annotations

import ctypes
import re
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otter_runtime.errors import EngineError, MissingExtra, UserError

ALIGNMENT = 256  # of every address that TensorRT is given (NvInferRuntime.h, setTensorAddress)


class Gpu:
    """The first GPU and one stream on it. Raises UserError where there is none."""

    def __init__(self) -> None:
        try:
            from cuda.bindings import runtime
        except ImportError as error:
            raise MissingExtra("cuda-bindings", "tensorrt") from error
        self._cuda: Any = runtime
        try:
            found = self._call(runtime.cudaGetDeviceCount())
            properties = self._call(runtime.cudaGetDeviceProperties(0)) if found else None
        except (RuntimeError, EngineError) as error:
            raise UserError(
                f"no NVIDIA GPU was found ({error}); run this on the device, with its driver"
            ) from error
        if properties is None:
            raise UserError("no NVIDIA GPU was found; run this on the device, with its driver")
        self.name = _slug(properties)
        self.stream = self._call(runtime.cudaStreamCreate())
        kinds = runtime.cudaMemcpyKind
        self._to_device = kinds.cudaMemcpyHostToDevice
        self._to_host = kinds.cudaMemcpyDeviceToHost
        self._within = kinds.cudaMemcpyDeviceToDevice

    def buffer(self, nbytes: int) -> Buffer:
        """Device memory, filled with zeros: what is masked is still multiplied by 0."""
        address = int(self._call(self._cuda.cudaMalloc(nbytes)))
        made = Buffer(address, nbytes)
        weakref.finalize(made, self._cuda.cudaFree, address).atexit = False
        self._call(self._cuda.cudaMemsetAsync(address, 0, nbytes, self.stream))
        return made

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """Host memory that the GPU copies from and to without a detour."""
        nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        address = int(self._call(self._cuda.cudaMallocHost(nbytes)))
        block = (ctypes.c_char * nbytes).from_address(address)
        weakref.finalize(block, self._cuda.cudaFreeHost, address).atexit = False
        return np.frombuffer(block, dtype).reshape(shape)

    def upload(self, array: NDArray[Any], address: int) -> None:
        """Host to device; `array` is to stay as it is until `wait`."""
        assert array.flags.c_contiguous
        self._copy(address, array.ctypes.data, array.nbytes, self._to_device)

    def download(self, address: int, array: NDArray[Any]) -> None:
        """Device to host; there after `wait`."""
        assert array.flags.c_contiguous
        self._copy(array.ctypes.data, address, array.nbytes, self._to_host)

    def copy_rows(self, to: int, to_pitch: int, at: int, pitch: int, width: int, rows: int) -> None:
        """`rows` rows of `width` bytes, `pitch` bytes apart, within the device."""
        self._call(
            self._cuda.cudaMemcpy2DAsync(
                to, to_pitch, at, pitch, width, rows, self._within, self.stream
            )
        )

    def wait(self) -> None:
        """Until everything that was asked for is done."""
        self._call(self._cuda.cudaStreamSynchronize(self.stream))

    def capture(self, enqueue: Callable[[], None]) -> Captured:
        """What `enqueue` asks for, as a graph to `launch`; none of it is run."""
        cuda = self._cuda
        mode = cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call(cuda.cudaStreamBeginCapture(self.stream, mode))
        try:
            enqueue()
        finally:
            graph = self._call(cuda.cudaStreamEndCapture(self.stream))
        ready = self._call(cuda.cudaGraphInstantiate(graph, 0))
        self._call(cuda.cudaGraphDestroy(graph))
        made = Captured(ready)
        weakref.finalize(made, cuda.cudaGraphExecDestroy, ready).atexit = False
        return made

    def launch(self, graph: Captured) -> None:
        """Run a captured graph."""
        self._call(self._cuda.cudaGraphLaunch(graph.ready, self.stream))

    def _copy(self, to: int, at: int, nbytes: int, kind: Any) -> None:
        self._call(self._cuda.cudaMemcpyAsync(to, at, nbytes, kind, self.stream))

    def _call(self, answer: tuple[Any, ...]) -> Any:
        """The value behind the error code that every function of cuda-bindings gives first."""
        error, *values = answer
        if int(error) != 0:
            _, name = self._cuda.cudaGetErrorName(error)
            raise EngineError(f"CUDA says {_text(name)}; see `dmesg` and `nvidia-smi`")
        return values[0] if values else None


class Buffer:
    """Device memory at `address`, freed when nobody holds it."""

    def __init__(self, address: int, nbytes: int) -> None:
        self.address = address
        self.nbytes = nbytes


class Captured:
    """A CUDA graph that can be launched, gone when nobody holds it."""

    def __init__(self, ready: Any) -> None:
        self.ready = ready


def aligned(nbytes: int) -> int:
    """`nbytes`, rounded up to what an address needs."""
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def _slug(properties: Any) -> str:
    """`orin-sm87-16mp`: an AGX and an NX are both called Orin, an engine fits one of them."""
    name = re.sub(r"[^a-z0-9]+", "-", _text(properties.name).lower()).strip("-")
    capability = f"sm{properties.major}{properties.minor}"
    return f"{name}-{capability}-{properties.multiProcessorCount}mp"


def _text(value: Any) -> str:
    return value.decode().rstrip("\0") if isinstance(value, bytes) else str(value)
