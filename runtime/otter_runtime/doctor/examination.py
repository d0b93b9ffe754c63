"""All checks in their order. A check that breaks is a finding too: a doctor never falls ill."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from otter_runtime.config import RunConfig
from otter_runtime.doctor import bundles, cameras, engines, places, power
from otter_runtime.doctor.finding import Finding, fail
from otter_runtime.doctor.host import Host

Check = Callable[[], Iterator[Finding]]


def examine(host: Host, config: RunConfig, bundle: Path) -> Iterator[Finding]:
    """Findings about `host` for a run that is configured like this."""
    provider = config.brain.provider
    checks: dict[str, Check] = {
        "python": lambda: engines.python(host),
        "onnxruntime": lambda: engines.onnxruntime(host, provider),
        "tensorrt": lambda: engines.tensorrt(host, provider),
        "gpu": lambda: engines.gpu(host, provider),
        "cameras": lambda: cameras.devices(host, config.source),
        "gstreamer": lambda: cameras.gstreamer(host, config.source),
        "run folder": lambda: places.sockets(host, config),
        "state folder": lambda: places.state(host, config),
        "keys": lambda: places.keys(host, config),
        "power": lambda: power.power(host),
        "bundle": lambda: bundles.bundle(host, bundle),
    }
    for name, check in checks.items():
        try:
            yield from check()
        except Exception as error:
            found = f"the check itself failed: {type(error).__name__}: {error}"
            yield fail(name, found, "report this sentence, and what the machine is")
