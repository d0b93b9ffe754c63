"""What the workstation's command line gains with the tuning extra."""

from otter_tuning.commands import mimicit, syphus, tune

__all__ = ["mimicit", "syphus", "tune"]
