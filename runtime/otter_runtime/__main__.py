"""`python -m otter_runtime` is `otter-edge`."""

import sys

from otter_runtime.cli import main

sys.exit(main())
