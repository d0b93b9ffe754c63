"""What runs the graphs: Python, ONNX Runtime and its providers, TensorRT, a GPU.

It knows the wheels that install and then do not run.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import metadata

from otter_runtime.doctor.finding import Finding, fail, ok, warn
from otter_runtime.doctor.host import Host

PYTHONS = ((3, 10), (3, 13))
ORT_CODE = (
    "import json, onnxruntime as o; print(json.dumps([o.__version__, o.get_available_providers()]))"
)
TENSORRT_CODE = "import json, tensorrt as t; print(json.dumps(t.__version__))"
PROVIDERS = {"cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
GPU_DEVICES = ("dev/nvidia0", "dev/nvhost-gpu", "dev/nvgpu/igpu0")
SYSTEM_TENSORRT = "usr/lib/python3*/dist-packages/tensorrt"


def python(host: Host) -> Iterator[Finding]:
    """Which one runs this."""
    found = f"{sys.version.split()[0]} on {host.machine}"
    if PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        yield ok("python", found)
    else:
        yield warn("python", found, "use Python 3.10 to 3.13: others are not tested")


def onnxruntime(host: Host, provider: str) -> Iterator[Finding]:
    """Whether it is there, has `provider`, and is a wheel for this machine."""
    wheels = [name for name in ("onnxruntime", "onnxruntime-gpu") if _version(name)]
    told, why = host.asked(ORT_CODE)
    if told is None:
        remedy = "pip install 'otter-edge[cpu]', or the wheel of your JetPack"
        if "No module" in why and provider == "tensorrt-native":
            yield ok("onnxruntime", "not installed; tensorrt-native needs none")
        else:
            yield fail("onnxruntime", f"cannot be imported: {why}", remedy)
        return
    version, providers = told
    short = [name.removesuffix("ExecutionProvider") for name in providers]
    yield ok("onnxruntime", f"{version} with {', '.join(short)}")
    yield from _wheels(host, wheels, providers)
    wanted = PROVIDERS.get(provider)
    if wanted and wanted not in providers:
        remedy = "install an onnxruntime that was built with it, or set brain.provider: cpu"
        yield fail("provider", f"brain.provider is {provider}, which it has not got", remedy)


def _wheels(host: Host, wheels: list[str], providers: list[str]) -> Iterator[Finding]:
    if len(wheels) == 2:
        yield warn(
            "onnxruntime wheels",
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other's files",
            "pip uninstall onnxruntime onnxruntime-gpu, then install the one you want",
        )
    # The wheel of PyPI has machine code for sm_89, 90, 120 and 121 and no PTX (1.31.1).
    from_pypi = PROVIDERS["cuda"] in providers and PROVIDERS["tensorrt"] not in providers
    if host.jetson and host.machine == "aarch64" and from_pypi:
        yield fail(
            "onnxruntime wheels",
            "this onnxruntime-gpu has no code for the GPU of an Orin or a Thor, and no TensorRT",
            "install the wheel that was made for your JetPack, or use brain.provider: "
            "tensorrt-native after `otter-edge build`",
        )


def tensorrt(host: Host, provider: str) -> Iterator[Finding]:
    """Whether it can be imported, where somebody wants it."""
    wanted = provider.startswith("tensorrt")
    version, why = host.asked(TENSORRT_CODE)
    if version is not None:
        yield ok("tensorrt", version)
        if provider == "tensorrt" and int(version.split(".")[0]) > 10:
            yield warn(
                "tensorrt",
                f"{version}, while onnxruntime's provider of the wheels wants libnvinfer 10",
                "use brain.provider: tensorrt-native, or build onnxruntime for it",
            )
    elif "libnvdla_compiler" in why:
        yield fail(
            "tensorrt",
            "libnvdla_compiler.so is missing: an -igpu container on JetPack 7.2, or a vendor's "
            "JetPack 6 without it",
            "on JetPack 7.2 use a plain ARM64 (SBSA) container or the host; on JetPack 6 install "
            "nvidia-l4t-dla-compiler",
        )
    elif "No module" in why:
        yield _no_tensorrt(host, wanted)
    else:
        remedy = "install the TensorRT of your JetPack or driver"
        yield (fail if wanted else warn)("tensorrt", f"cannot be imported: {why}", remedy)


def _no_tensorrt(host: Host, wanted: bool) -> Finding:
    level = fail if wanted else warn
    if any(host.root.glob(SYSTEM_TENSORRT)):
        remedy = "make the environment anew: python3 -m venv --system-site-packages .venv"
        return level("tensorrt", "the system has it, this environment does not see it", remedy)
    if host.jetson or wanted:
        remedy = "apt-get install nvidia-jetpack" if host.jetson else "pip install tensorrt"
        return level("tensorrt", "not installed", remedy)
    return ok("tensorrt", "not installed, and not asked for")


def gpu(host: Host, provider: str) -> Iterator[Finding]:
    """Whether there is one, and this user may use it."""
    devices = [host.root / name for name in GPU_DEVICES if (host.root / name).exists()]
    if not devices:
        if provider == "cpu":
            yield ok("gpu", "none; the graphs run on the processor")
        else:
            remedy = "load the NVIDIA driver (in a container: --runtime nvidia), or use cpu"
            yield fail("gpu", f"none was found, and brain.provider is {provider}", remedy)
    elif all(host.may(device) for device in devices):
        yield ok("gpu", host.jetson or host.text("proc/driver/nvidia/version")[:80] or "present")
    else:
        remedy = "sudo usermod -aG video,render $USER, then log in anew"
        yield fail("gpu", f"you may not use {devices[0]}", remedy)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
