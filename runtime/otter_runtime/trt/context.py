"""One plan with one of its profiles, on the GPU's stream: shapes, addresses, run.

TensorRT says no by returning False; here that is an error. It does not know what the tensors mean.
"""

from __future__ import annotations

from typing import Any

from otter_runtime.errors import EngineError
from otter_runtime.trt.gpu import ALIGNMENT, Gpu


class Context:
    """An execution context; two may not share a profile. EngineError where memory runs out."""

    def __init__(self, trt: Any, gpu: Gpu, engine: Any, profile: int = 0) -> None:
        self._stream = int(gpu.stream)
        # Memory for the one profile that it runs, not for the largest of all.
        lean = trt.ExecutionContextAllocationStrategy.ON_PROFILE_CHANGE
        self._context = engine.create_execution_context(lean)
        if self._context is None or not self._context.set_optimization_profile_async(
            profile, self._stream
        ):
            raise EngineError("TensorRT gives no execution context; memory may have run out")
        gpu.wait()

    def bind(self, name: str, shape: tuple[int, ...], address: int) -> None:
        """Input `name` has `shape` and lies at `address`."""
        if not self._context.set_input_shape(name, shape):
            raise EngineError(f"the engine takes no {name} of shape {shape}; build it again")
        self.place(name, address)

    def place(self, name: str, address: int) -> None:
        """Output `name` goes to `address`."""
        assert address % ALIGNMENT == 0
        if not self._context.set_tensor_address(name, address):
            raise EngineError(f"the engine has no {name}; build it again")

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of an output, once the inputs have theirs."""
        return tuple(self._context.get_tensor_shape(name))

    def enqueue(self) -> None:
        """Run, some time: `Gpu.wait` says when it is done."""
        if not self._context.execute_async_v3(self._stream):
            raise EngineError("TensorRT could not run, above it says why; restart the program")
