"""Holds ONNX graphs to the rules of TensorRT's parser, without TensorRT.

It finds what the parser or builder is documented to refuse. It does not know fusion, speed or
memory, and a graph without findings has still to be built on a device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx

from otter_export.tensorrt import operators, quantization
from otter_export.tensorrt.releases import RELEASES, Release, parse_version
from otter_export.tensorrt.view import View
from otter_runtime.errors import UserError

ERROR, WARNING = "error", "warning"
PASS, FAILED, UNKNOWN = "pass", "errors", "unknown"
NodeRule = Callable[[View, onnx.NodeProto, Release], Iterator[str]]

# Rule: what a breach is. Their names are those of the functions, with hyphens.
QUANTIZATION: dict[NodeRule, str] = {
    quantization.zero_point_zero: ERROR,
    quantization.zero_point_size: ERROR,
    quantization.no_uint8: ERROR,
    quantization.scale_positive: ERROR,
    quantization.scale_constant: ERROR,
    quantization.scale_length: ERROR,
    quantization.axis_written: ERROR,
    quantization.axis_range: ERROR,
    quantization.activation_per_tensor: ERROR,
    quantization.weight_per_channel: WARNING,
    quantization.scale_type: ERROR,
    quantization.blocked_rank: ERROR,
    quantization.blocked_once: ERROR,
    quantization.blocked_even: ERROR,
    quantization.blocked_type: ERROR,
    quantization.blocked_opset: ERROR,
    quantization.int4_even: ERROR,
    quantization.int4_weight_only: ERROR,
}
OPERATORS: dict[NodeRule, str] = {
    operators.operator_supported: ERROR,
    operators.operator_type: ERROR,
    operators.double_narrowed: WARNING,
    operators.constant_input: ERROR,
    operators.first_outputs: ERROR,
    operators.squeeze_axes: ERROR,
    operators.attention_inputs: ERROR,
    operators.not_inferred: WARNING,
}


@dataclass(frozen=True)
class Finding:
    """One breach of one rule; `node` is empty where it is the graph's."""

    rule: str
    severity: str
    graph: str
    node: str
    message: str


@dataclass(frozen=True)
class Report:
    """What was found for one TensorRT version; nothing was checked where it is unknown."""

    version: str
    sources: tuple[str, ...]
    graphs: dict[str, dict[str, int]]  # name: opset, nodes, quantized nodes
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> str:
        """pass, errors, or unknown."""
        if not self.sources:
            return UNKNOWN
        return FAILED if any(found.severity == ERROR for found in self.findings) else PASS

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"tensorrt": self.version, "verdict": self.verdict, **asdict(self)}


def lint(paths: Sequence[Path], version: str) -> Report:
    """Hold the graphs in ONNX files `paths` to TensorRT `version` (10.3, 10.3.0.26, ...).

    Raises UserError where `version` is no version or a file is no graph.
    """
    number = parse_version(version)
    if number is None:
        raise UserError(f"a TensorRT version is like 10.3, got {version!r}; see `trtexec --help`")
    views = [View(path) for path in paths]
    counts = {view.name: _counts(view) for view in views}
    release = RELEASES.get(number)
    if release is None:
        return Report(version, (), counts, ())
    findings = [found for view in views for found in check(view, release)]
    return Report(version, release.sources, counts, tuple(findings))


def check(view: View, release: Release) -> Iterator[Finding]:
    """Every breach in one graph."""
    for message in operators.opset_range(view, release):
        yield Finding("opset-range", WARNING, view.name, "", message)
    for node in view.nodes:
        rules = dict(OPERATORS)
        if node.op_type in quantization.QUANTIZED and len(node.input) > 1:
            rules |= QUANTIZATION
        for rule, severity in rules.items():
            for message in rule(view, node, release):
                yield Finding(rule_name(rule), severity, view.name, _name(node), message)


def rule_name(rule: NodeRule) -> str:
    """`zero_point_zero` is told as zero-point-zero."""
    return str(getattr(rule, "__name__", rule)).replace("_", "-")


def known_versions() -> str:
    """The versions with a source, for people."""
    return ", ".join(release.name for release in RELEASES.values())


def _name(node: onnx.NodeProto) -> str:
    return node.name or f"{node.op_type} -> {', '.join(node.output)}"


def _counts(view: View) -> dict[str, int]:
    quantized = sum(node.op_type in quantization.QUANTIZED for node in view.nodes)
    return {"opset": view.opset, "nodes": len(view.nodes), "quantized": quantized}
