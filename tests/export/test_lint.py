"""The linter: our graphs are clean, and each planted fault is found by its rule's name."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import otter_runtime
from otter_export.commands import lint as command
from otter_export.tensorrt.lint import Report, lint
from otter_export.tensorrt.releases import RELEASES, parse_version
from otter_runtime.errors import UserError

POCKET = Path(otter_runtime.__file__).parent / "pocket" / "bundle-int8"
VERSIONS = ("10.3", "10.13", "10.16", "11.4")
Damage = Callable[[onnx.ModelProto], None]


def call(*words: object) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(word) for word in words]))


def linted(model: onnx.ModelProto, folder: Path, version: str = "10.3") -> Report:
    path = folder / "graph.onnx"
    path.write_bytes(model.SerializeToString())
    return lint([path], version)


def rules(report: Report, severity: str = "error") -> set[str]:
    return {found.rule for found in report.findings if found.severity == severity}


def int8_graph() -> onnx.ModelProto:
    """x (tokens, 8) through one int8 layer, in the form that `Int8` writes."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "step", "zero"], ["q"], name="q"),
        helper.make_node("DequantizeLinear", ["q", "step", "zero"], ["dq"], name="dq"),
        helper.make_node("DequantizeLinear", ["w", "scales", "zeros"], ["wd"], name="wd", axis=1),
        helper.make_node("MatMul", ["dq", "wd"], ["product"], name="matmul"),
        helper.make_node("Squeeze", ["product", "axes"], ["y"], name="squeeze"),
    ]
    weights = {
        "step": np.float32(0.5),
        "zero": np.int8(0),
        "w": np.arange(-16, 16, dtype=np.int8).reshape(8, 4),
        "scales": np.full(4, 0.25, np.float32),
        "zeros": np.zeros(4, np.int8),
        "axes": np.array([0]),
    }
    return made(nodes, weights, (1, "tokens", 8), opset=20)


def int4_graph() -> onnx.ModelProto:
    """x (tokens, 64) times a weight (64, 6) of INT4 in blocks of 32."""
    node = helper.make_node(
        "DequantizeLinear", ["w", "scales"], ["wd"], name="wd", axis=0, block_size=32
    )
    weight = np.arange(64 * 6).reshape(64, 6) % 16 - 8
    weights = {
        "w": weight.astype(ml_dtypes.int4),
        "scales": np.full((2, 6), 0.25, np.float32),
    }
    nodes = [node, helper.make_node("MatMul", ["x", "wd"], ["y"], name="matmul")]
    return made(nodes, weights, ("tokens", 64), opset=21)


def made(
    nodes: list[onnx.NodeProto], weights: dict[str, Any], shape: tuple[Any, ...], opset: int
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def node(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    found: onnx.NodeProto = next(node for node in model.graph.node if node.name == name)
    return found


def replace(model: onnx.ModelProto, name: str, value: NDArray[Any]) -> None:
    for tensor in model.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(np.asarray(value), name))


def values(name: str, value: Any) -> Damage:
    return lambda model: replace(model, name, np.asarray(value))


def attribute(name: str, key: str, value: Any) -> Damage:
    def damage(model: onnx.ModelProto) -> None:
        found = node(model, name)
        kept = [a for a in found.attribute if a.name != key]
        del found.attribute[:]
        found.attribute.extend(kept)
        if value is not None:
            found.attribute.append(helper.make_attribute(key, value))

    return damage


def operator(name: str, kind: str, domain: str = "") -> Damage:
    def damage(model: onnx.ModelProto) -> None:
        node(model, name).op_type = kind
        node(model, name).domain = domain
        if domain:
            model.opset_import.append(helper.make_opsetid(domain, 1))

    return damage


def opset(version: int) -> Damage:
    def damage(model: onnx.ModelProto) -> None:
        model.opset_import[0].version = version

    return damage


def computed(name: str) -> Damage:
    """The constant `name` becomes the result of an addition."""

    def damage(model: onnx.ModelProto) -> None:
        tensor = next(t for t in model.graph.initializer if t.name == name)
        tensor.name = f"{name}.half"
        model.graph.node.insert(0, helper.make_node("Add", [tensor.name] * 2, [name], name="add"))

    return damage


def second_output(model: onnx.ModelProto) -> None:
    """A LayerNormalization that also gives its mean."""
    model.graph.initializer.append(numpy_helper.from_array(np.ones(4, np.float32), "gain"))
    model.graph.node.append(
        helper.make_node("LayerNormalization", ["product", "gain"], ["z", "mean"], name="norm")
    )


def whole_numbers(model: onnx.ModelProto) -> None:
    """A matrix product of integers."""
    model.graph.initializer.append(numpy_helper.from_array(np.ones((2, 2), np.int64), "n"))
    model.graph.node.append(helper.make_node("MatMul", ["n", "n"], ["nn"], name="integers"))


def looked_up(model: onnx.ModelProto) -> None:
    """A table of INT4 that is gathered from."""
    model.graph.initializer.append(numpy_helper.from_array(np.array([1]), "row"))
    found = node(model, "matmul")
    found.op_type = "Gather"
    found.input[:] = ["wd", "row"]


def squeezed_all(model: onnx.ModelProto) -> None:
    del node(model, "squeeze").input[1:]


# Ten faults of int8 graphs, then those of int4 and of operators.
INT8_FAULTS: list[tuple[Damage, str]] = [
    (values("zeros", np.array([0, 3, 0, 0], np.int8)), "zero-point-zero"),
    (values("zeros", np.zeros(1, np.int8)), "zero-point-size"),
    (values("zero", np.uint8(0)), "no-uint8"),
    (values("scales", np.array([1, 0, 1, 1], np.float32)), "scale-positive"),
    (computed("step"), "scale-constant"),
    (values("scales", np.ones(3, np.float32)), "scale-length"),
    (attribute("wd", "axis", None), "axis-written"),
    (attribute("dq", "axis", 7), "axis-range"),
    (values("step", np.ones(8, np.float32)), "activation-per-tensor"),
    (values("step", np.float16(0.5)), "scale-type"),
    (operator("matmul", "MatMulInteger"), "operator-supported"),
    (operator("matmul", "MatMulNBits", "com.microsoft"), "operator-supported"),
    (whole_numbers, "operator-type"),
    (computed("axes"), "constant-input"),
    (second_output, "first-outputs"),
    (squeezed_all, "squeeze-axes"),
]
INT4_FAULTS: list[tuple[Damage, str]] = [
    (values("scales", np.ones((1, 2, 6), np.float32)), "blocked-rank"),
    (values("scales", np.ones((2, 3), np.float32)), "blocked-once"),
    (values("scales", np.ones((3, 6), np.float32)), "blocked-even"),
    (attribute("wd", "block_size", 16), "blocked-even"),
    (values("w", np.ones((64, 6), np.int8)), "blocked-type"),
    (opset(20), "blocked-opset"),
    (values("w", np.ones((64, 5), ml_dtypes.int4)), "int4-even"),
    (looked_up, "int4-weight-only"),
    (computed("w"), "int4-weight-only"),
]


@pytest.mark.parametrize("version", VERSIONS)
def test_our_graphs_give_no_finding(version: str, tmp_path: Path) -> None:
    pocket = lint(sorted(POCKET.glob("*.onnx")), version)
    assert pocket.verdict == "pass"
    assert pocket.findings == ()
    assert sum(counts["quantized"] for counts in pocket.graphs.values()) == 153
    assert linted(int8_graph(), tmp_path, version).findings == ()
    assert rules(linted(int4_graph(), tmp_path, version)) == set()


@pytest.mark.parametrize(
    ("family", "precision"),
    [("mpt1b", "int8"), ("llama", "int8"), ("mpt", "int4"), ("mpt", "fp16")],
)
def test_what_is_exported_gives_no_error(
    family: str, precision: str, tiny_bundle: Callable[..., Path]
) -> None:
    graphs = sorted(tiny_bundle(family, precision).glob("*.onnx"))
    for version in VERSIONS:
        report = lint(graphs, version)
        assert rules(report) == set()
        assert rules(report, "warning") <= {"opset-range"}  # int4's 21 on 10.3


def test_dynamic_int8_is_not_for_tensorrt(tiny_bundle: Callable[..., Path]) -> None:
    report = lint(sorted(tiny_bundle("mpt", "int8-dynamic").glob("*.onnx")), "11.4")
    assert rules(report) == {"operator-supported"}


@pytest.mark.parametrize(("damage", "rule"), INT8_FAULTS)
def test_a_planted_fault_is_found(damage: Damage, rule: str, tmp_path: Path) -> None:
    model = int8_graph()
    damage(model)
    assert rule in rules(linted(model, tmp_path))


@pytest.mark.parametrize(("damage", "rule"), INT4_FAULTS)
def test_a_planted_fault_of_int4_is_found(damage: Damage, rule: str, tmp_path: Path) -> None:
    model = int4_graph()
    damage(model)
    assert rule in rules(linted(model, tmp_path))


def test_a_fault_in_our_decoder_is_named_with_its_node(tmp_path: Path) -> None:
    model = onnx.load(str(POCKET / "decoder.onnx"), load_external_data=False)
    found = next(n for n in model.graph.node if n.op_type == "DequantizeLinear" and n.attribute)
    del found.attribute[:]
    (tmp_path / "decoder.bin").write_bytes((POCKET / "decoder.bin").read_bytes())
    report = linted(model, tmp_path)
    assert [(f.rule, f.graph, f.node) for f in report.findings] == [
        ("axis-written", "graph", found.name)
    ]
    assert "write it" in report.findings[0].message


def test_what_cannot_be_inferred_is_said(tmp_path: Path) -> None:
    model = int8_graph()
    operator("q", "Unheard", "of.somebody")(model)
    assert "not-inferred" in rules(linted(model, tmp_path), "warning")


def test_warnings_are_no_errors(tmp_path: Path) -> None:
    model = int4_graph()
    assert rules(linted(model, tmp_path, "10.3"), "warning") == {"opset-range"}
    assert linted(model, tmp_path, "10.3").verdict == "pass"
    assert linted(model, tmp_path, "10.16").findings == ()
    model = int8_graph()
    values("scales", np.float32(0.5))(model)
    values("zeros", np.int8(0))(model)
    assert rules(linted(model, tmp_path), "warning") == {"weight-per-channel"}


def test_scales_may_be_computed_from_10_13_on(tmp_path: Path) -> None:
    model = int8_graph()
    computed("step")(model)
    assert "scale-constant" in rules(linted(model, tmp_path, "10.3"))
    assert "scale-constant" not in rules(linted(model, tmp_path, "10.13"))


def test_attention_came_with_10_14(tmp_path: Path) -> None:
    attention = helper.make_node("Attention", ["x", "x", "x"], ["y"], name="attention")
    model = made([attention], {}, (1, 2, "tokens", 8), opset=23)
    assert rules(linted(model, tmp_path, "10.13")) == {"operator-supported"}
    assert rules(linted(model, tmp_path, "10.14")) == set()
    attention.input.extend(["", "x", "x"])
    model = made([attention], {}, (1, 2, "tokens", 8), opset=23)
    assert "attention-inputs" in rules(linted(model, tmp_path, "10.14"))


def test_a_version_without_a_source_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(POCKET, "--tensorrt", "10.7", "--json") == 3
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"] == "unknown"
    assert told["sources"] == []
    assert call(POCKET, "--tensorrt", "12.0.1") == 3
    assert "unknown" in capsys.readouterr().out


def test_the_command_tells_version_sources_and_findings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(POCKET, "--tensorrt", "10.3.0.26") == 0
    assert "0 errors" in capsys.readouterr().out
    model = int8_graph()
    attribute("wd", "axis", None)(model)
    (tmp_path / "g.onnx").write_bytes(model.SerializeToString())
    assert call(tmp_path / "g.onnx", "--tensorrt", "10.3", "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"] == "errors"
    assert told["sources"]
    assert {(f["rule"], f["node"]) for f in told["findings"]} == {("axis-written", "wd")}
    assert call(tmp_path / "g.onnx", "--tensorrt", "10.3") == 1
    assert "axis-written" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("path", "version", "said"),
    [
        (POCKET / "vision.onnx", "ten", "is like 10.3"),
        (POCKET / "nothing.onnx", "10.3", "cannot be read"),
        (POCKET / "golden.npz", "10.3", "is not an ONNX graph"),
    ],
)
def test_bad_input_is_one_sentence(path: Path, version: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        lint([path], version)


def test_numbers_that_are_not_there_are_named(tmp_path: Path) -> None:
    graph = tmp_path / "vision.onnx"
    graph.write_bytes((POCKET / "vision.onnx").read_bytes())
    with pytest.raises(UserError, match="data file beside it"):
        lint([graph], "10.3")


def test_every_release_has_sources_and_operators() -> None:
    assert parse_version("10.3.0.26") == (10, 3)
    assert parse_version("10") is None
    for release in RELEASES.values():
        assert release.sources
        known = release.operators()
        assert "MatMul" in known
        assert "MatMulInteger" not in known
    assert "Swish" in RELEASES[11, 4].operators()
    assert "Swish" not in RELEASES[10, 16].operators()
