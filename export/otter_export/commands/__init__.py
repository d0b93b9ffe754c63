"""The workstation's commands: `otter-edge export`, `verify` and `lint`. Importing is cheap."""

from otter_export.commands import export, lint, verify

__all__ = ["export", "lint", "verify"]
