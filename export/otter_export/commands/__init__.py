"""The workstation's commands: `otter-edge export` and `otter-edge verify`. Importing is cheap."""

from otter_export.commands import export, verify

__all__ = ["export", "verify"]
