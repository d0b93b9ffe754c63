"""A plan with one input and a few outputs: array in, arrays out, by way of the GPU."""

from __future__ import annotations

import numpy as np

from otter_runtime.bundle import Graph
from otter_runtime.engine import Floats
from otter_runtime.trt.context import Context
from otter_runtime.trt.gpu import Buffer, Gpu


class Feed:
    """The plan of `graph` in `context`; its buffers grow with what it is given."""

    def __init__(self, gpu: Gpu, context: Context, graph: Graph) -> None:
        self._gpu, self._context = gpu, context
        self._input = graph.inputs[0].name
        self._outputs = [spec.name for spec in graph.outputs]
        self._buffers: dict[str, Buffer] = {}

    def __call__(self, array: Floats) -> list[Floats]:
        """The outputs for `array`."""
        array = np.ascontiguousarray(array, np.float32)
        place = self._room(self._input, array.nbytes)
        self._context.bind(self._input, array.shape, place)
        self._gpu.upload(array, place)
        outputs = [np.empty(self._context.shape(name), np.float32) for name in self._outputs]
        for name, output in zip(self._outputs, outputs, strict=True):
            self._context.place(name, self._room(name, output.nbytes))
        self._context.enqueue()
        for name, output in zip(self._outputs, outputs, strict=True):
            self._gpu.download(self._buffers[name].address, output)
        self._gpu.wait()
        return outputs

    def _room(self, name: str, nbytes: int) -> int:
        """An address with room for `nbytes` of tensor `name`."""
        known = self._buffers.get(name)
        if known is None or known.nbytes < nbytes:
            known = self._buffers[name] = self._gpu.buffer(nbytes)
        return known.address
