"""The stand-ins for TensorRT and CUDA have the signatures of NVIDIA's own bindings."""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
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


# NVIDIA's bindings without TensorRT's libraries: what they call is never called here, but a loader
# wants these names to be there.
WANTED = (
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "getBuilderPluginRegistry",
    "getNvOnnxParserVersion",
    "getPluginRegistry",
    "initLibNvInferPlugins",
)
LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")
TELL = """
import json, tensorrt_bindings as trt
kinds = json.loads(input())
told = {kind: {name: getattr(getattr(trt, kind), name).__doc__ for name in names}
        for kind, names in kinds.items()}
told["version"] = trt.__version__
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def bindings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The docstrings of TensorRT's own classes, by class and function; and its `version`."""
    if importlib.util.find_spec("tensorrt_bindings") is None:
        pytest.skip("NVIDIA has no tensorrt_bindings for this Python and processor")
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no cc: the bindings load only beside libraries, for which we build empty ones")
    major = version("tensorrt-cu12-bindings").partition(".")[0]
    folder = tmp_path_factory.mktemp("libraries")
    source = folder / "empty.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in WANTED))
    for library in LIBRARIES:
        name = f"lib{library}.so.{major}"
        words = [compiler, "-shared", "-fPIC", str(source), f"-Wl,-soname,{name}", "-o", name]
        subprocess.run(words, check=True, cwd=folder)
    asked = {kind: list(functions) for kind, functions in SIGNATURES.items()}
    done = subprocess.run(
        [sys.executable, "-c", TELL],
        input=json.dumps(asked),
        env={**os.environ, "LD_LIBRARY_PATH": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_the_table_is_tensorrts(bindings: dict[str, Any]) -> None:
    for kind, functions in SIGNATURES.items():
        for name, wanted in functions.items():
            if wanted != "property":
                for words in wanted:
                    told = bindings[kind][name]
                    assert all(f"{word}:" in told for word in words), f"{kind}.{name}: {told}"


def test_the_table_is_cudas() -> None:
    """cuda-bindings needs no driver to tell what its functions take."""
    runtime = pytest.importorskip(
        "cuda.bindings.runtime", reason="no cuda-bindings for this Python"
    )
    for name, wanted in CUDA_SIGNATURES.items():
        assert list(inspect.signature(getattr(runtime, name)).parameters) == wanted, name
