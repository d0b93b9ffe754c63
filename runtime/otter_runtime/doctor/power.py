"""How fast the machine may be: its power mode, whether it throttles, how warm it is."""

from __future__ import annotations

from collections.abc import Iterator

from otter_runtime.doctor.finding import Finding, ok, warn
from otter_runtime.doctor.host import Host
from otter_runtime.sensors import Sensors

WARM_C = 85.0  # a Jetson throttles some degrees above
GOVERNOR = "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"


def power(host: Host) -> Iterator[Finding]:
    """Mode, throttling and temperature, as far as the machine tells."""
    reading = Sensors(host.root).read()
    if reading.power_mode and not reading.power_mode.startswith("MAXN"):
        remedy = "sudo nvpmodel -m 0 && sudo jetson_clocks, if its supply and cooling allow it"
        yield warn("power mode", f"{reading.power_mode}, not MAXN", remedy)
    elif reading.power_mode:
        yield ok("power mode", reading.power_mode)
    elif host.text(GOVERNOR) == "powersave":
        remedy = "sudo cpupower frequency-set -g performance, for steady latency"
        yield warn("power mode", "the processor's governor is powersave", remedy)
    if reading.throttled:
        remedy = "give it a stronger supply or better cooling; see governor in docs/device.md"
        yield warn("throttling", f"{reading.throttled} events since the start", remedy)
    if reading.temperature_c is not None:
        found = f"{reading.temperature_c:.0f} °C ({reading.zone})"
        if reading.temperature_c < WARM_C:
            yield ok("temperature", found)
        else:
            yield warn("temperature", found, "cool it: it throttles soon")
