"""The devices that speeds are predicted for: memory, bandwidth, arithmetic, as NVIDIA states them.

Dense rates, not the sparse ones of the data sheets. Sources: NVIDIA's data sheets and the "Super"
announcement for Orin Nano and NX; Thor's int8 rate is its dense FP8 rate.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Device:
    """Sizes in GB (10^9), bandwidth in GB/s, arithmetic in dense 10^12 operations per second."""

    name: str
    memory_gb: float
    bandwidth: float
    fp16: float
    int8: float

    def rate(self, precision: str) -> float:
        """Operations per second of matrix products in `precision`; float32 runs as TF32."""
        tera = {"int8": self.int8, "fp32": self.fp16 / 2}.get(precision, self.fp16)
        return 1e12 * tera


DEVICES = (
    Device("Orin Nano 8GB", 8, 68, 10, 20),
    Device("Orin Nano 8GB Super", 8, 102, 17, 33),
    Device("Orin NX 16GB", 16, 102, 15, 30),
    Device("Orin NX 16GB Super", 16, 102, 19, 38),
    Device("AGX Orin 64GB", 64, 205, 42, 85),
    Device("Thor T5000", 128, 273, 259, 517),
)


def device_of(model: str, power_mode: str) -> Device | None:
    """Which of `DEVICES` calls itself `model` (its device tree's words); None for any other.

    The "Super" rates are those of the power modes that came with that name.
    """
    kinds = {"Orin Nano": "Orin Nano 8GB", "Orin NX": "Orin NX 16GB"}
    kinds |= {"AGX Orin": "AGX Orin 64GB", "Thor": "Thor T5000"}
    name = next((known for words, known in kinds.items() if words in model), "")
    super_name = f"{name} Super" if "SUPER" in power_mode.upper() else name
    known = {device.name: device for device in DEVICES}
    return known.get(super_name) or known.get(name)
