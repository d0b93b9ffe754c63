# ruff: noqa: N801, N802, N803, N815 (the names are CUDA's)
"""A stand-in for `cuda.bindings.runtime`: device addresses are addresses of numpy arrays.

What the real one refuses is refused: copies past an allocation, and waiting during a capture.
Memory comes filled with garbage, NaN in every float.
"""

from __future__ import annotations

import ctypes
import types
from collections.abc import Callable
from enum import IntEnum
from importlib.machinery import ModuleSpec
from typing import Any

import numpy as np
from numpy.typing import NDArray

# cuda.bindings.runtime of cuda-bindings 12.8.0 and 13.5.0.
CUDA_SIGNATURES = {
    "cudaGetDeviceCount": [],
    "cudaGetDeviceProperties": ["device"],
    "cudaStreamCreate": [],
    "cudaMalloc": ["size"],
    "cudaFree": ["devPtr"],
    "cudaMallocHost": ["size"],
    "cudaFreeHost": ["ptr"],
    "cudaMemsetAsync": ["devPtr", "value", "count", "stream"],
    "cudaMemcpyAsync": ["dst", "src", "count", "kind", "stream"],
    "cudaMemcpy2DAsync": ["dst", "dpitch", "src", "spitch", "width", "height", "kind", "stream"],
    "cudaStreamSynchronize": ["stream"],
    "cudaStreamBeginCapture": ["stream", "mode"],
    "cudaStreamEndCapture": ["stream"],
    "cudaGraphInstantiate": ["graph", "flags"],
    "cudaGraphDestroy": ["graph"],
    "cudaGraphExecDestroy": ["graphExec"],
    "cudaGraphLaunch": ["graphExec", "stream"],
    "cudaGetErrorName": ["error"],
}
OK, INVALID, NO_DEVICE = 0, 1, 100
ALIGNMENT = 256
Work = Callable[[], None]


class Cuda(types.ModuleType):
    """`cuda.bindings.runtime` with one device, one stream, and every allocation known."""

    class cudaMemcpyKind(IntEnum):
        cudaMemcpyHostToDevice = 1
        cudaMemcpyDeviceToHost = 2
        cudaMemcpyDeviceToDevice = 3

    class cudaStreamCaptureMode(IntEnum):
        cudaStreamCaptureModeThreadLocal = 1

    STREAM = 77

    def __init__(self, devices: int = 1) -> None:
        super().__init__("cuda.bindings.runtime")
        self.__spec__ = ModuleSpec("cuda.bindings.runtime", None)
        self.devices = devices
        self.device: dict[int, NDArray[np.uint8]] = {}  # address of its aligned part: memory
        self.host: dict[int, NDArray[np.uint8]] = {}
        self.recording: list[Work] | None = None
        self.calls: list[str] = []

    def cudaGetDeviceCount(self) -> tuple[int, int]:
        return (OK, self.devices) if self.devices else (NO_DEVICE, 0)

    def cudaGetDeviceProperties(self, device: int) -> tuple[int, Any]:
        found = types.SimpleNamespace(name=b"Orin\0\0", major=8, minor=7, multiProcessorCount=16)
        return OK, found

    def cudaStreamCreate(self) -> tuple[int, int]:
        return OK, self.STREAM

    def cudaMalloc(self, size: int) -> tuple[int, int]:
        memory = np.full(size + ALIGNMENT, 0xFF, np.uint8)  # garbage, as it comes: NaN
        address = -(-memory.ctypes.data // ALIGNMENT) * ALIGNMENT
        self.device[address] = memory[address - memory.ctypes.data :][:size]
        return OK, address

    def cudaFree(self, devPtr: int) -> tuple[int]:
        return (OK,) if self.device.pop(devPtr, None) is not None else (INVALID,)

    def cudaMallocHost(self, size: int) -> tuple[int, int]:
        memory = np.full(size, 0xFF, np.uint8)
        self.host[memory.ctypes.data] = memory
        return OK, memory.ctypes.data

    def cudaFreeHost(self, ptr: int) -> tuple[int]:
        return (OK,) if self.host.pop(ptr, None) is not None else (INVALID,)

    def cudaMemsetAsync(self, devPtr: int, value: int, count: int, stream: int) -> tuple[int]:
        if not self.holds(devPtr, count):
            return (INVALID,)
        self.do("memset", lambda: ctypes.memset(devPtr, value, count))
        return (OK,)

    def cudaMemcpyAsync(self, dst: int, src: int, count: int, kind: int, stream: int) -> tuple[int]:
        if kind != 1 and not self.holds(src, count):
            return (INVALID,)
        if kind != 2 and not self.holds(dst, count):
            return (INVALID,)
        self.do("copy", lambda: ctypes.memmove(dst, src, count))
        return (OK,)

    def cudaMemcpy2DAsync(
        self,
        dst: int,
        dpitch: int,
        src: int,
        spitch: int,
        width: int,
        height: int,
        kind: int,
        stream: int,
    ) -> tuple[int]:
        to, at = (height - 1) * dpitch + width, (height - 1) * spitch + width
        if width > min(dpitch, spitch) or not (self.holds(dst, to) and self.holds(src, at)):
            return (INVALID,)

        def move() -> None:
            for row in range(height):
                ctypes.memmove(dst + row * dpitch, src + row * spitch, width)

        self.do("copy rows", move)
        return (OK,)

    def cudaStreamSynchronize(self, stream: int) -> tuple[int]:
        return (OK,) if self.recording is None else (INVALID,)

    def cudaStreamBeginCapture(self, stream: int, mode: int) -> tuple[int]:
        self.recording = []
        return (OK,)

    def cudaStreamEndCapture(self, stream: int) -> tuple[int, Any]:
        recorded, self.recording = self.recording, None
        return (OK, recorded) if recorded else (INVALID, None)

    def cudaGraphInstantiate(self, graph: list[Work], flags: int) -> tuple[int, Any]:
        return OK, list(graph)

    def cudaGraphDestroy(self, graph: Any) -> tuple[int]:
        return (OK,)

    def cudaGraphExecDestroy(self, graphExec: Any) -> tuple[int]:
        return (OK,)

    def cudaGraphLaunch(self, graphExec: list[Work], stream: int) -> tuple[int]:
        self.calls.append("launch")
        for work in graphExec:
            work()
        return (OK,)

    def cudaGetErrorName(self, error: int) -> tuple[int, bytes]:
        names = {INVALID: b"cudaErrorInvalidValue", NO_DEVICE: b"cudaErrorNoDevice"}
        return OK, names.get(error, b"cudaErrorUnknown")

    def do(self, what: str, work: Callable[[], Any]) -> None:
        """Run it, or note it while a graph is captured."""
        if self.recording is not None:
            self.recording.append(work)
            return
        self.calls.append(what)
        work()

    def holds(self, address: int, count: int) -> bool:
        """Whether `count` bytes from `address` lie in one allocation."""
        return any(
            at <= address and address + count <= at + len(m) for at, m in self.device.items()
        )
