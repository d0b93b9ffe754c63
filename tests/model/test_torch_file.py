"""Files of torch.save: read lazily and whole; what is not weights alone is refused, and not run."""

from __future__ import annotations

import os
import pickle
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from otter_model.errors import CheckpointError
from otter_model.tensors import Tensors
from otter_model.torch_file import read_torch_file

Write = Callable[[Any, Path], None]


def old_format(value: Any, path: Path) -> None:
    """As torch before 1.6 wrote."""
    torch.save(value, path, _use_new_zipfile_serialization=False)


def bare_pickle(value: Any, path: Path) -> None:
    with path.open("wb") as file:
        pickle.dump(value, file, protocol=2)


@pytest.fixture
def state() -> dict[str, Tensor]:
    return {
        "a.weight": torch.randn(3, 4),
        "b": torch.randn(5).half(),
        "c": torch.randn(1).bfloat16(),
    }


def same(path: Path, state: dict[str, Tensor]) -> bool:
    found = Tensors(read_torch_file(path))
    assert set(found) == set(state)
    assert all(found.shape(name) == tuple(state[name].shape) for name in state)
    return all(torch.equal(found[name], state[name]) for name in state)


@pytest.mark.parametrize("save", [torch.save, old_format])
def test_what_torch_saved_is_read(save: Write, state: dict[str, Tensor], tmp_path: Path) -> None:
    save(OrderedDict(state), tmp_path / "w.bin")
    assert same(tmp_path / "w.bin", state)


def test_what_training_puts_around_a_state_dict_is_taken_off(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    parallel = {f"module.{name}": tensor for name, tensor in state.items()}
    optimizer = {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-4}]}
    around = {"model_state_dict": parallel, "optimizer_state_dict": optimizer, "epoch": 4}
    torch.save(around, tmp_path / "checkpoint_4.pt")
    assert same(tmp_path / "checkpoint_4.pt", state)


def test_nothing_is_read_before_it_is_asked_for(state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "w.pt")
    found = Tensors(read_torch_file(tmp_path / "w.pt"))
    (tmp_path / "w.pt").unlink()
    with pytest.raises(CheckpointError, match=r"w\.pt does not exist"):
        found["b"]


def test_a_slice_of_a_storage_is_read_as_itself(tmp_path: Path) -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    torch.save({"slice": whole[:, 1:3], "turned": whole.T}, tmp_path / "w.pt")
    assert same(tmp_path / "w.pt", {"slice": whole[:, 1:3], "turned": whole.T})


class Canary:
    """Leaves a file behind if ever it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("save", [torch.save, old_format, bare_pickle])
@pytest.mark.parametrize("deep", [False, True])
def test_code_in_a_file_is_not_run(save: Write, deep: bool, tmp_path: Path) -> None:
    path, canary = tmp_path / "evil.bin", tmp_path / "sang"
    save({"w": {"x": [Canary(canary)]} if deep else Canary(canary)}, path)
    with pytest.raises(CheckpointError, match=r"evil\.bin .*") as refused:
        read_torch_file(path)
    assert not canary.exists()
    assert "\n" not in str(refused.value)
    if save is not bare_pickle:
        assert "wants to load the Python object posix.mkdir" in str(refused.value)
    pickle.loads(pickle.dumps(Canary(canary)))  # it would have sung
    assert canary.exists()


def test_an_object_beside_the_weights_is_named(state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save({"model_state_dict": state, "args": Namespace(lr=1)}, tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match=r"argparse\.Namespace"):
        read_torch_file(tmp_path / "c.pt")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_program_of_torchscript_is_refused(tmp_path: Path) -> None:
    program = torch.jit.script(torch.nn.Linear(2, 2))
    torch.jit.save(program, tmp_path / "ViT.pt")
    with pytest.raises(CheckpointError, match="TorchScript program"):
        read_torch_file(tmp_path / "ViT.pt")


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ([1, 2], "holds a list"),
        ({}, "holds a dict without any"),
        ({"epoch": 3}, "'epoch' is a int"),
        ({1: torch.ones(1)}, "1 is a Tensor"),
        ({"state_dict": {"a": torch.ones(1)}}, "'state_dict' is a dict"),
        ({"a": torch.ones(2).to_sparse()}, "'a' is a Tensor of another kind"),
    ],
)
def test_what_is_no_state_dict_is_told(value: Any, sentence: str, tmp_path: Path) -> None:
    torch.save(value, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=sentence):
        read_torch_file(tmp_path / "w.pt")


@pytest.mark.parametrize("cut", [0, 3, 200, -30])
def test_a_cut_file_is_named(cut: int, state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "w.pt")
    data = (tmp_path / "w.pt").read_bytes()
    (tmp_path / "w.pt").write_bytes(data[:cut])
    with pytest.raises(CheckpointError, match=r"w\.pt is not a whole file of torch\.save"):
        read_torch_file(tmp_path / "w.pt")


def test_a_pointer_instead_of_weights_is_told(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(CheckpointError, match="Git LFS pointer"):
        read_torch_file(tmp_path / "w.bin")
