"""The folder of keys: who can read what, what is refused, and the command that edits it."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from otter_robots.errors import KeyFileRefused, UserError
from otter_robots.keys import read
from otter_robots.topics import ALLOW
from otter_runtime import cli
from otter_runtime.commands import keys as command
from otter_runtime.keyring import Keyring, make_folder


@pytest.fixture
def ring(tmp_path: Path) -> Keyring:
    return make_folder(tmp_path / "deep" / "keys")


def test_a_client_is_handed_its_own_secret_and_the_runtimes_public_key(ring: Keyring) -> None:
    arm, eye = (read(ring.make(name, "ask")) for name in ("arm", "eye"))
    assert arm.server == eye.server == ring.server().public
    assert len({arm.public, arm.secret, eye.public, eye.secret, arm.server}) == 5
    assert [(client.name, client.public) for client in ring.listed()] == [
        ("arm", arm.public), ("eye", eye.public)
    ]  # fmt: skip


def test_secrets_stay_where_they_belong(ring: Keyring) -> None:
    arm = read(ring.make("arm", "ask"))
    secrets = {arm.secret, ring.server().secret}
    assert not any(secret in (ring.folder / "clients.json").read_text() for secret in secrets)
    assert ring.server().secret not in (ring.folder / "arm.client").read_text()
    assert arm.secret not in repr(arm)
    assert ring.server().secret not in repr(ring.server())
    for path in ring.folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE(ring.folder.stat().st_mode) == 0o700


def test_whoever_is_revoked_is_gone(ring: Keyring) -> None:
    ring.make("arm", "ask")
    ring.make("eye", "observe")
    ring.revoke("arm")
    assert [client.name for client in ring.listed()] == ["eye"]
    assert not (ring.folder / "arm.client").exists()
    with pytest.raises(UserError, match="no key of 'arm'; allowed: eye"):
        ring.revoke("arm")


def test_the_list_is_read_again_when_it_changed(ring: Keyring) -> None:
    live = Keyring(ring.folder)
    arm = read(ring.make("arm", "ask"))
    assert live.reload()
    assert live.clients[arm.public].may("observe")
    assert live.clients[arm.public].may("ask")
    assert not live.clients[arm.public].may("command")
    assert not live.reload()
    ring.revoke("arm")
    assert live.reload()
    assert live.clients == {}


@pytest.mark.parametrize("content", [b"", b"[{}]", b"[[[[", b"\xff", b'[{"name": "a"}]'])
def test_a_list_that_cannot_be_read_lets_nobody_in(ring: Keyring, content: bytes) -> None:
    ring.make("arm", "ask")
    assert ring.reload()
    (ring.folder / "clients.json").write_bytes(content)
    for _ in range(2):
        with pytest.raises(KeyFileRefused, match="is no key file"):
            ring.reload()
        assert ring.clients == {}


def test_files_that_others_can_read_are_refused(ring: Keyring) -> None:
    path = ring.make("arm", "ask")
    for name in ("arm.client", "server.json", "clients.json"):
        (ring.folder / name).chmod(0o640)
    with pytest.raises(KeyFileRefused, match=r"only you can read .*mode 640.*chmod 600"):
        read(path)
    with pytest.raises(KeyFileRefused, match=r"server\.json"):
        ring.server()
    with pytest.raises(KeyFileRefused, match=r"clients\.json"):
        ring.reload()
    ring.folder.chmod(0o755)
    with pytest.raises(KeyFileRefused, match="chmod 700"):
        Keyring(ring.folder)


def test_what_is_no_key_is_refused(ring: Keyring, tmp_path: Path) -> None:
    path = ring.make("arm", "ask")
    eye = read(ring.make("eye", "ask"))
    key = json.loads(path.read_text())
    for change in (
        {"secret": eye.secret},
        {"secret": "#" * 40},
        {"public": "short"},
        {"name": "/"},
    ):
        path.write_text(json.dumps(key | change))
        with pytest.raises(KeyFileRefused, match="make it anew"):
            read(path)
    with pytest.raises(KeyFileRefused, match="cannot be read"):
        read(tmp_path / "nowhere")
    with pytest.raises(KeyFileRefused, match="make them with `otter-edge keys make"):
        Keyring(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["", "../arm", "a/b", ".hidden", "a b", "x" * 65, "ä"])
def test_a_name_is_a_file_name(ring: Keyring, name: str) -> None:
    with pytest.raises(UserError, match="no name for a key"):
        ring.make(name, "ask")
    assert ring.listed() == []


def test_a_name_is_given_once(ring: Keyring) -> None:
    ring.make("arm", "ask")
    with pytest.raises(UserError, match="revoke it first"):
        ring.make("arm", "command")


# The command.


def test_the_command_makes_lists_and_revokes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--keys", str(tmp_path / "keys")]

    def run(*words: str) -> list[str]:
        assert cli.main(["keys", *words, *where]) == 0
        return capsys.readouterr().out.splitlines()

    (made,) = run("make", "arm", "--allow", "command", "--json")
    assert read(Path(json.loads(made)["file"])).name == "arm"
    assert "tablet.client" in run("make", "tablet", "--allow", "observe")[0]
    listed = [json.loads(line) for line in run("list", "--json")]
    assert [(one["name"], one["allow"]) for one in listed] == [
        ("arm", "command"), ("tablet", "observe")
    ]  # fmt: skip
    assert run("list")[0].startswith("arm ")
    assert "arm" in run("revoke", "arm")[0]
    assert len(run("list")) == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["make", "arm"], "say what arm may"),
        (["make", "--allow", "ask"], "whose key"),
        (["list"], "there are no keys"),
        (["revoke", "arm"], "there are no keys"),
    ],
)
def test_the_command_says_what_is_wrong(
    words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["keys", *words, "--keys", str(tmp_path / "keys")]) == 2
    assert says in capsys.readouterr().err


def test_the_command_knows_every_permission() -> None:
    assert command.ALLOW == ALLOW


def test_the_default_folder_is_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert cli.main(["keys", "make", "arm", "--allow", "ask"]) == 0
    assert os.listdir(tmp_path / "otter-edge" / "keys")
    assert str(tmp_path) in capsys.readouterr().out
