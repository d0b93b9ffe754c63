"""`python -m otter_tuning.training run.yaml`: what `accelerate launch` starts in each process."""

from __future__ import annotations

import sys

from otter_runtime.cli import main

if __name__ == "__main__":
    sys.exit(main(["tune", *sys.argv[1:]]))
