"""A page as Chromium shows it, without a window: a picture of it, where that browser is.

It knows the browser's command line; it does not know pages.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from otter_runtime.errors import UserError

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
# Nothing of a page comes from anywhere else; the browser's own errands are turned off, too.
WORDS = (
    *("--headless=new", "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--no-sandbox", "--hide-scrollbars", "--force-color-profile=srgb"),
)
LIMIT_S = 120.0


def browser() -> str | None:
    """Where it is; None where it is not installed."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


def photographed(page: Path, picture: Path, size: tuple[int, int]) -> None:
    """A PNG of the upper (width, height) pixels of a page. Raises UserError without a browser."""
    program = browser()
    if program is None:
        raise UserError("no Chromium is installed; run: apt-get install chromium")
    with tempfile.TemporaryDirectory(prefix="otter-") as profile:
        command = [
            *(program, *WORDS, f"--user-data-dir={profile}"),
            f"--window-size={size[0]},{size[1]}",
            f"--screenshot={picture.resolve()}",
            page.resolve().as_uri(),
        ]
        try:
            subprocess.run(command, check=True, timeout=LIMIT_S, capture_output=True)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            raise UserError(f"Chromium did not show {page} ({error}); try it by hand") from error
