"""The external data of one graph: tensors appended to a file as they come.

Only one tensor is in memory at a time, so a graph can be larger than the machine that writes it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from ml_dtypes import int4
from numpy.typing import NDArray

# Cache lines, and what ONNX Runtime's kernels load at once; files stay small for small models.
ALIGNMENT = 64


class WeightFile:
    """Appends tensors to `path` and hands back the TensorProto that points at each."""

    def __init__(self, path: Path, told: Callable[[int], None] = lambda end: None) -> None:
        """`told` hears how many bytes were written so far, after every tensor."""
        self.path = path
        self._told = told
        self._file = path.open("wb")
        self._end = 0

    def append(self, name: str, array: NDArray[Any]) -> onnx.TensorProto:
        """Write `array` (any dtype that numpy and ONNX share) and return its initializer."""
        self._file.write(b"\0" * (-self._end % ALIGNMENT))
        offset = self._end + -self._end % ALIGNMENT
        data = packed(array) if array.dtype == int4 else np.ascontiguousarray(array)
        self._file.write(data.data if data.size else b"")
        self._end = offset + data.nbytes
        self._told(self._end)
        dtype = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        tensor = onnx.TensorProto(name=name, data_type=dtype, dims=array.shape)
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (
            ("location", self.path.name),
            ("offset", str(offset)),
            ("length", str(data.nbytes)),
        ):
            tensor.external_data.add(key=key, value=value)
        return tensor

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> WeightFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def packed(codes: NDArray[Any]) -> NDArray[np.uint8]:
    """ONNX's INT4: two of them a byte in row-major order, the first in the low nibble."""
    flat: NDArray[np.uint8] = codes.reshape(-1).view(np.uint8) & np.uint8(0xF)
    return flat[0::2] | flat[1::2] << np.uint8(4)
