"""One file that `torch.save` wrote (`.bin`, `.pt`), read without running anything in it.

Such a file is a pickle, a program that may call any function. torch's `weights_only` reader knows
tensors and plain containers alone; a file that names anything else is refused. Files since torch
1.6 are mapped: opening one reads no values, and each tensor is copied out when asked for. Older
ones cannot be mapped and stay in memory once opened.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from otter_model.errors import CheckpointError
from otter_model.tensors import Entries, Entry

# What training scripts wrap a state dict in, beside optimizer and epoch, which are left alone.
_WRAPPER = "model_state_dict"
# What torch's DistributedDataParallel puts in front of every name.
_PARALLEL = "module."
_NAMED_OBJECT = re.compile(r"GLOBAL `?([\w.]+)")
# How much is copied from one mapping before it is made anew: pages that were touched count as
# resident memory while the mapping lives.
_REMAP_BYTES = 1 << 28


def read_torch_file(path: Path) -> Entries:
    """The tensors of the state dict in `path`, without `model_state_dict` and `module.` around.

    Raises CheckpointError where it is not readable, would run code, or holds something else.
    """
    return TorchFile(path).entries()


class TorchFile:
    """One file, mapped while tensors are copied out of it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mapped = zipfile.is_zipfile(path)
        self._tensors: dict[str, Tensor] | None = None
        self._copied_bytes = 0

    def entries(self) -> Entries:
        """Names and shapes; the mapping is not kept, the tensors of an old file are."""
        tensors = _state_dict(self._path)
        if not self._mapped:
            self._tensors = tensors
        return {name: self._entry(name, tensor) for name, tensor in tensors.items()}

    def read(self, name: str) -> Tensor:
        """A copy of the tensor."""
        if self._mapped and self._copied_bytes > _REMAP_BYTES:
            self._tensors, self._copied_bytes = None, 0
        if self._tensors is None:
            self._tensors = _state_dict(self._path)
        tensor = self._tensors[name].clone()
        self._copied_bytes += tensor.nbytes
        return tensor

    def _entry(self, name: str, tensor: Tensor) -> Entry:
        return Entry(tuple(tensor.shape), tensor.is_floating_point(), partial(self.read, name))


def _state_dict(path: Path) -> dict[str, Tensor]:
    content = _load(path)
    if isinstance(content, dict) and _WRAPPER in content:
        content = content[_WRAPPER]
    if not isinstance(content, dict) or not content:
        raise CheckpointError(
            f"{path} should hold tensors by name, but holds a {type(content).__name__} "
            "without any; give a file of weights"
        )
    for name, value in content.items():
        _require_plain(path, name, value)
    if all(name.startswith(_PARALLEL) for name in content):
        return {name.removeprefix(_PARALLEL): value for name, value in content.items()}
    return content


def _require_plain(path: Path, name: Any, value: Any) -> None:
    """Raises CheckpointError for anything but a named tensor with values of its own."""
    if isinstance(name, str) and isinstance(value, Tensor):
        dense = value.layout == torch.strided and not value.is_quantized
        if dense and value.device.type == "cpu":
            return
    raise CheckpointError(
        f"{path} should hold plain tensors by name, but {name!r} is a {type(value).__name__} "
        f"of another kind; save the state dict alone, or under {_WRAPPER!r}"
    )


def _load(path: Path) -> Any:
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist; give a file of weights")
    mapped = zipfile.is_zipfile(path)
    if mapped:
        _refuse_script(path)
    try:
        with warnings.catch_warnings():
            # torch warns of pickles newer than its own: those it cannot read are refused below.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # a hostile or broken file may fail anywhere inside the reader
        raise CheckpointError(_why(path, error)) from None


def _why(path: Path, error: Exception) -> str:
    if found := _NAMED_OBJECT.search(str(error)):
        return (
            f"{path} should hold tensors alone, but wants to load the Python object {found[1]}, "
            "which could run code; nothing was run. Ask its author for safetensors"
        )
    return (
        f"{path} is not a whole file of torch.save ({type(error).__name__}); fetch it again "
        "(a few hundred bytes are a Git LFS pointer, not the weights)"
    )


def _refuse_script(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        return  # torch's own reader says what is wrong
    if any(name.endswith("/constants.pkl") for name in names):
        raise CheckpointError(
            f"{path} is a TorchScript program, not weights alone; give the same weights as "
            "safetensors or a state dict (OpenAI's CLIP: openai/clip-vit-large-patch14)"
        )
