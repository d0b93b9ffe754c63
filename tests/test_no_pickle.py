"""Nothing that is shipped can be made to run what somebody sent: no pickle, no eval."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("robots", "runtime", "model", "export", "tuning", "benchmarks")
FILES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]

MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}
CALLS = {"eval", "exec", "compile", "__import__"}
# Methods that unpickle or evaluate; `torch.load` and numpy's only with the arguments below.
METHODS = {"recv_pyobj", "send_pyobj", "read_pickle", "unsafe_load", "full_load"}
LOADERS = {"torch.load": "weights_only", "np.load": "allow_pickle", "numpy.load": "allow_pickle"}


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [name.name for name in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


def unsafe_call(call: ast.Call) -> str | None:
    name = dotted(call.func)
    given = {word.arg: word.value for word in call.keywords}
    if name in CALLS or name.rpartition(".")[2] in METHODS or name == "yaml.load":
        return name
    if name in LOADERS:
        wanted = LOADERS[name] == "weights_only"
        value = given.get(LOADERS[name])
        # numpy refuses pickles unless told otherwise; torch has to be told.
        said = value.value if isinstance(value, ast.Constant) else None
        if (value is None and wanted) or (value is not None and said is not wanted):
            return f"{name} without {LOADERS[name]}={wanted}"
    return None


def unsafe(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        for module in imported(node):
            if module.partition(".")[0] in MODULES:
                yield f"line {getattr(node, 'lineno', 0)}: import {module}"
        if isinstance(node, ast.Call) and (what := unsafe_call(node)):
            yield f"line {node.lineno}: {what}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_pickle_and_no_eval(path: Path) -> None:
    assert list(unsafe(path.read_text())) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import cloudpickle.x",
        "eval('1')",
        "exec(code)",
        "__import__('os')",
        "socket.recv_pyobj()",
        "yaml.load(text)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
    ],
)
def test_the_scan_finds(source: str) -> None:
    assert len(list(unsafe(source))) == 1


@pytest.mark.parametrize(
    "source",
    [
        "model.eval()",
        "re.compile('a')",
        "torch.load(path, weights_only=True)",
        "np.load(path)",
        "np.load(path, allow_pickle=False)",
        "yaml.safe_load(text)",
    ],
)
def test_the_scan_lets_pass(source: str) -> None:
    assert list(unsafe(source)) == []
