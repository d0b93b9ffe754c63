"""Cameras: the devices, who may open them, and the GStreamer that reads those OpenCV cannot.

It opens none of them: another program may be using one.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence

from otter_runtime.doctor.finding import Finding, fail, ok, warn
from otter_runtime.doctor.host import Host

ELEMENTS = ("videoconvert", "videoscale", "y4menc", "fdsink")
CSI = "nvarguscamerasrc"
PACKAGES = "gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good"
PATIENCE_S = 60.0  # a first look at its plugins takes GStreamer seconds


def devices(host: Host, sources: Sequence[str]) -> Iterator[Finding]:
    """Each V4L2 camera, and those that the configuration names and that are not there."""
    found = sorted(host.root.glob("dev/video[0-9]*"), key=lambda path: int(path.name[5:]))
    for path in found:
        number = path.name[5:]
        if host.text(f"sys/class/video4linux/{path.name}/index") not in ("", "0"):
            continue  # a camera's second node carries metadata, no pictures
        name = host.text(f"sys/class/video4linux/{path.name}/name") or "a camera"
        if host.may(path):
            yield ok(f"camera {number}", name)
        else:
            remedy = "sudo usermod -aG video $USER, then log in anew"
            yield fail(f"camera {number}", f"you may not open {path} ({name})", remedy)
    there = {path.name[5:] for path in found}
    for source in sources:
        if source.isdecimal() and source not in there:
            remedy = "plug it in (in a container: --device), or give another source"
            yield fail(f"camera {source}", f"/dev/video{source} is missing", remedy)
    if not found:
        yield ok("cameras", "no /dev/video*; streams, files and `bus` need none")


def gstreamer(host: Host, sources: Sequence[str]) -> Iterator[Finding]:
    """Whether `gst:` sources work."""
    asked_for = any(source.startswith("gst:") for source in sources)
    level = fail if asked_for else warn
    if not shutil.which("gst-launch-1.0"):
        if asked_for or host.jetson:
            yield level("gstreamer", "gst-launch-1.0 is missing", f"apt-get install {PACKAGES}")
        else:
            yield ok("gstreamer", "not installed, and not asked for")
        return
    named = [CSI] if host.jetson or any(CSI in source for source in sources) else []
    missing = [name for name in (*ELEMENTS, *named) if not _exists(name)]
    if not missing:
        yield ok("gstreamer", _version())
    elif missing == [CSI]:
        remedy = "apt-get install nvidia-l4t-gstreamer; in a container mount the host's plugins"
        yield level("gstreamer", f"{CSI} is missing: no CSI camera", remedy)
    else:
        remedy = f"apt-get install {PACKAGES}"
        yield level("gstreamer", f"it lacks {', '.join(missing)}", remedy)


def _exists(element: str) -> bool:
    return _ran("gst-inspect-1.0", "--exists", element).returncode == 0


def _version() -> str:
    found = re.search(r"GStreamer (\S+)", _ran("gst-launch-1.0", "--version").stdout)
    return found[1] if found else "present"


def _ran(*words: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            words, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(words, 1, "", str(error))
