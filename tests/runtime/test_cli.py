"""The command line: quick help that imports nothing heavy, one sentence for every mistake."""

from __future__ import annotations

import resource
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from otter_runtime import cli
from otter_runtime.cli import COMMANDS, GROUP

HEAVY = {"numpy", "cv2", "zmq", "onnxruntime", "onnx", "torch", "PIL", "tokenizers"}
JOINED = sorted(point.name for point in metadata.entry_points(group=GROUP))
HELPS = [["--help"], *[[name, "--help"] for name in [*COMMANDS, *JOINED]]]


def otter(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "otter_runtime", *words], capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("words", HELPS, ids=" ".join)
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys, contextlib\n"
        "from otter_runtime.cli import main\n"
        "with contextlib.suppress(SystemExit):\n"
        f"    main({words!r})\n"
        "print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: otter-edge")
    assert not HEAVY & set(done.stderr.split())


@pytest.mark.parametrize("words", HELPS, ids=" ".join)
def test_help_takes_less_than_half_a_second(words: list[str]) -> None:
    def took_s() -> float:
        """Of the processor, whatever else the machine is busy with."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert otter(*words).returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(took_s() for _ in range(3)) < 0.4


def test_help_names_every_command() -> None:
    said = otter("--help").stdout
    assert all(f"  {name} " in said for name in [*COMMANDS, *JOINED])
    assert "write a bundle (graphs, golden answers, hashes) from a checkpoint" in said
    assert "(otter-edge[export])" in said


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["rn"], "there is no command 'rn'; did you mean run?"),
        (["zzz"], "see `otter-edge --help`"),
        (["sub", "--topic", "anwser"], "did you mean answer"),
        (["sub", "--stream", "tcp://8.8.8.8:1"], "not on this machine"),
        (["ask", "x", "--requests", "nonsense"], "no endpoint"),
        (["ask", "x" * 5000], "would refuse this request"),
        (["ask", ""], "would refuse this request"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(words: list[str], says: str) -> None:
    done = otter(*words)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.startswith("otter-edge: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.parametrize("time", ["nan", "inf", "-1", "soon"])
@pytest.mark.parametrize("words", [["ask", "x"], ["sub"]], ids=lambda words: words[0])
def test_a_time_that_is_none_is_refused(words: list[str], time: str) -> None:
    done = otter(*words, f"--timeout={time}")
    assert done.returncode == 2
    assert "--timeout" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_the_system_refuses_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(words: list[str]) -> int:
        raise OSError(28, "No space left on device", "/data/x.sqlite")

    monkeypatch.setattr(cli, "_dispatch", full)
    assert cli.main(["mimicit"]) == 2
    assert capsys.readouterr().err == (
        "otter-edge: /data/x.sqlite cannot be used (No space left on device); "
        "give another, or make room\n"
    )
    monkeypatch.setattr(cli, "_dispatch", lambda words: (_ for _ in ()).throw(OSError(5, "broken")))
    with pytest.raises(OSError, match="broken"):  # names no file, so it is not the user's to mend
        cli.main(["mimicit"])


def test_nobody_listening(tmp_path: Path) -> None:
    done = otter("ask", "Where?", "--requests", f"ipc://{tmp_path}/r")
    assert done.returncode == 2
    assert f"nobody received the request at ipc://{tmp_path}/r" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_missing_extra_is_the_line_that_installs_it(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(('torch', 'onnx', 'safetensors')))\n"
        "from otter_runtime.cli import main\n"
        f"sys.exit(main(['export', '{tmp_path}', '-o', '{tmp_path}/bundle']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.endswith("is not installed; run: pip install 'otter-edge[export]'\n")
    assert done.stderr.count("\n") == 1


def test_the_workstation_commands_are_installed() -> None:
    assert {"export", "verify"} <= set(JOINED)


def test_version() -> None:
    assert otter("--version").stdout == f"otter-edge {metadata.version('otter-edge')}\n"


def test_a_reader_that_leaves_is_no_error() -> None:
    code = f"{sys.executable} -m otter_runtime --help | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
