"""One safetensors file: names and shapes from its header, a tensor when asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from otter_model.errors import CheckpointError
from otter_model.tensors import Entries, Entry


def read_safetensors(path: Path) -> Entries:
    """The tensors of `path`. Raises CheckpointError where it is not readable."""
    with _open(path) as file:
        return {name: _entry(path, name, file.get_slice(name)) for name in file.keys()}  # noqa: SIM118


def _entry(path: Path, name: str, header: Any) -> Entry:
    def read() -> Tensor:
        with _open(path) as file:
            tensor: Tensor = file.get_tensor(name)
        return tensor

    floating = str(header.get_dtype()).startswith(("F", "BF"))
    return Entry(tuple(header.get_shape()), floating, read)


def _open(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except (OSError, SafetensorError) as error:
        message = f"{path} is not a readable safetensors file ({error}); fetch it again"
        raise CheckpointError(message) from None
