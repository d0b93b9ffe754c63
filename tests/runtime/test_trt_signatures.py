"""The stand-ins for TensorRT and CUDA have the signatures of NVIDIA's own bindings."""

from __future__ import annotations

import importlib.util
import inspect
from typing import Any

import pytest
from tests.runtime import fake_tensorrt
from tests.runtime.fake_cuda import CUDA_SIGNATURES, Cuda
from tests.runtime.fake_tensorrt import SIGNATURES


def overloads(function: Any) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]


@pytest.mark.parametrize("kind", SIGNATURES)
def test_the_stand_in_has_tensorrts_signatures(kind: str) -> None:
    stand_in = getattr(fake_tensorrt, kind)
    for name, wanted in SIGNATURES[kind].items():
        if wanted != "property":
            assert overloads(getattr(stand_in, name)) in wanted, f"{kind}.{name}"
    ours = {name for name in vars(stand_in) if not name.startswith("_")}
    functions = {name for name in ours if callable(getattr(stand_in, name))}
    inner = {"compute", "view"}  # the stand-in's own
    assert functions - inner <= set(SIGNATURES[kind])


def test_the_stand_in_has_cudas_signatures() -> None:
    functions = {
        name: overloads(function)
        for name, function in vars(Cuda).items()
        if inspect.isfunction(function) and name.startswith("cuda")
    }
    assert functions == CUDA_SIGNATURES


@pytest.mark.skipif(importlib.util.find_spec("tensorrt") is None, reason="TensorRT is not here")
def test_the_table_is_tensorrts() -> None:
    import tensorrt

    for kind, functions in SIGNATURES.items():
        for name, wanted in functions.items():
            found = getattr(getattr(tensorrt, kind), name)
            if wanted != "property":
                for words in wanted:
                    assert all(f"{word}:" in found.__doc__ for word in words), f"{kind}.{name}"
