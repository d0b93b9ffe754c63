"""Which addresses the bus may use: this machine's and this user's."""

from __future__ import annotations

from pathlib import Path

import pytest

from otter_robots import endpoints
from otter_robots.errors import AddressRefused


@pytest.mark.parametrize(
    "endpoint",
    ["tcp://127.0.0.1:5555", "tcp://127.8.9.1:0", "tcp://localhost:*", "tcp://[::1]:5555"],
)
def test_loopback_is_accepted(endpoint: str) -> None:
    endpoints.check(endpoint)


@pytest.mark.parametrize(
    "endpoint",
    [
        "tcp://0.0.0.0:5555",
        "tcp://*:5555",
        "tcp://192.168.1.2:5555",
        "tcp://[::]:5555",
        "tcp://example.com:5555",
        "tcp://127.0.0.1.example.com:5555",
        "tcp://eth0:5555",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:port",
        "tcp://127.0.0.1:65536",
        "tcp://:5555",
        "ipc://@abstract",
        "ipc://relative/socket",
        "ipc://",
        "inproc://x",
        "udp://127.0.0.1:5555",
        "nonsense",
        "",
    ],
)
def test_anything_else_is_refused(endpoint: str) -> None:
    with pytest.raises(AddressRefused):
        endpoints.check(endpoint)


def test_a_private_folder_is_accepted(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    endpoints.check(f"ipc://{tmp_path}/stream")
    endpoints.check(f"ipc://{tmp_path}/not-there-yet/stream")


def test_a_folder_others_can_enter_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(AddressRefused, match="chmod 700"):
        endpoints.check(f"ipc://{tmp_path}/stream")


def test_a_link_to_a_private_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(AddressRefused):
        endpoints.check(f"ipc://{tmp_path}/link/stream")


def test_a_path_too_long_for_a_socket_is_refused() -> None:
    with pytest.raises(AddressRefused, match="shorter"):
        endpoints.check(f"ipc:///{'x' * 107}")


def test_the_default_folder_follows_the_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert endpoints.stream_endpoint() == f"ipc://{tmp_path}/otter-edge/stream"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "gone"))
    assert "otter-edge-" in endpoints.requests_endpoint()


def test_a_folder_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert endpoints.stream_endpoint(Path("run")) == f"ipc://{tmp_path}/run/stream"
    assert endpoints.requests_endpoint(Path("run")) == f"ipc://{tmp_path}/run/requests"
