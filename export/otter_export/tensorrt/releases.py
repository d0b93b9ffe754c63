"""What each TensorRT release takes: opsets, operators and their types, with the source of each.

Operators are a base, what 10.1 documents, and what later releases added. A release that is not
here has no source, and nothing is said of it. It knows no graphs.

Sources, by their short names below:
    onnx-tensorrt COMMIT   github.com/onnx/onnx-tensorrt, docs/operators.md and onnxOpImporters.cpp
    NvInfer.h X.Y          github.com/NVIDIA/TensorRT, branch release/X.Y, include/NvInfer.h
    changes X.Y            the same, CHANGELOG.md or the release's notes
"""

from __future__ import annotations

from dataclasses import dataclass

FLOATS = "FLOAT FLOAT16 BFLOAT16"
NUMBERS = f"{FLOATS} INT32 INT64"
ANY = f"{NUMBERS} BOOL"

# onnx-tensorrt 96e7811 (TensorRT 10.1): types of an operator's data input. What is not listed is
# documented as unsupported, or not documented at all.
BASE = {
    FLOATS: (
        "Acos Acosh Asin Asinh Atan Atanh AveragePool BatchNormalization Ceil Celu Clip Conv "
        "ConvTranspose Cos Cosh CumSum Dropout Einsum Elu Erf Exp Floor GRU Gemm GlobalAveragePool "
        "GlobalLpPool GlobalMaxPool GroupNormalization HardSigmoid HardSwish Hardmax "
        "InstanceNormalization IsInf LRN LSTM LayerNormalization LeakyRelu Log LogSoftmax "
        "LpNormalization LpPool MatMul MaxPool MeanVarianceNormalization PRelu Pow QuantizeLinear "
        "RNN RandomNormal RandomNormalLike RandomUniform RandomUniformLike Reciprocal Resize Round "
        "Scan Selu Sigmoid Sin Sinh Softmax Softplus Softsign Sqrt Tan Tanh ThresholdedRelu "
        "Upsample"
    ),
    NUMBERS: (
        "Abs Add ArgMax ArgMin DepthToSpace Div Equal Greater GreaterOrEqual IsNaN Less "
        "LessOrEqual Max Min Mod Mul Neg Pad Range ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp "
        "ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Scatter "
        "ScatterElements ScatterND Shrink Sign SpaceToDepth Sub Sum TopK"
    ),
    ANY: (
        "Concat Constant ConstantOfShape Expand EyeLike Flatten Gather GatherElements GatherND "
        "Identity If Loop OneHot Reshape ReverseSequence Shape Size Slice Split Squeeze Tile "
        "Transpose Trilu Unsqueeze Where"
    ),
    f"{ANY} UINT8": "Cast CastLike",
    "FLOAT FLOAT16": "DeformConv GridSample Mish NonMaxSuppression NonZero RoiAlign",
    "BOOL": "And Not Or Xor",
    f"{NUMBERS} INT8": "Gelu",
    f"{NUMBERS} FLOAT8E4M3FN": "Mean",
    "INT8 INT4 FLOAT8E4M3FN": "DequantizeLinear",
}

# Release that brought it: operator, its types from then on.
ADDED = {
    (10, 4): dict.fromkeys(("BlackmanWindow", "HammingWindow", "HannWindow"), "FLOAT FLOAT16"),
    (10, 5): {"STFT": "FLOAT"},
    (10, 8): {"DequantizeLinear": "INT8 INT4 FLOAT8E4M3FN FLOAT4E2M1"},
    (10, 12): {"Pow": NUMBERS},
    (10, 14): {
        "Attention": f"{FLOATS} INT8 FLOAT8E4M3FN",
        **dict.fromkeys(("Constant", "ConstantOfShape"), f"{ANY} FLOAT8E4M3FN FLOAT4E2M1 INT4"),
    },
    (10, 15): {
        "RMSNormalization": FLOATS,
        "RotaryEmbedding": FLOATS,
        "TensorScatter": f"{FLOATS} INT32",
    },
    (11, 0): {"Swish": FLOATS},
    (11, 2): {"DFT": FLOATS},
}


@dataclass(frozen=True)
class Release:
    """One TensorRT release; `opsets` is the documented range, both ends in it."""

    version: tuple[int, int]
    opsets: tuple[int, int]
    sources: tuple[str, ...]

    @property
    def name(self) -> str:
        """As it is written: 10.3."""
        return ".".join(map(str, self.version))

    @property
    def constant_scale(self) -> bool:
        """Whether scales must be build-time constants (NvInfer.h 10.3 says so, 10.13 does not)."""
        return self.version < (10, 13)

    @property
    def blocked_types(self) -> frozenset[str]:
        """Types with blocked scales (NvInfer.h 10.3 and 10.13)."""
        if self.version < (10, 13):
            return frozenset({"INT4"})
        return frozenset({"INT4", "FLOAT4E2M1", "FLOAT8E4M3FN"})

    def operators(self) -> dict[str, frozenset[str]]:
        """Operator to the types that it takes."""
        found = {op: types for types, ops in BASE.items() for op in ops.split()}
        for since, more in ADDED.items():
            if since <= self.version:
                found |= more
        return {op: frozenset(types.split()) for op, types in found.items()}


BASE_SOURCE = "onnx-tensorrt 96e7811 (10.1)"

RELEASES = {
    release.version: release
    for release in (
        Release((10, 1), (9, 20), (BASE_SOURCE, "NvInfer.h 10.1")),
        # 10.2 and 10.3 changed no operator but Slice (axes may be a tensor).
        Release((10, 3), (9, 20), (BASE_SOURCE, "changes 10.2 to 10.3", "NvInfer.h 10.3")),
        # ONNX 1.17, opset 22, since 10.6; a higher one is documented from 10.14 on only.
        Release(
            (10, 13),
            (9, 22),
            (
                BASE_SOURCE,
                "changes 10.2 to 10.13",
                "onnx-tensorrt c727277 (10.14)",
                "NvInfer.h 10.13",
            ),
        ),
        Release((10, 14), (9, 24), ("onnx-tensorrt c727277", "NvInfer.h 10.14")),
        Release((10, 15), (9, 24), ("onnx-tensorrt fa5aa9f", "NvInfer.h 10.15")),
        Release((10, 16), (9, 24), ("onnx-tensorrt 6bde659", "NvInfer.h 10.16")),
        Release((11, 1), (9, 24), ("onnx-tensorrt 7c51a63", "NvInfer.h 11.1")),
        # 11.5 added opset 25. 11.2 to 11.4 added DFT and five-dimensional GridSample.
        Release(
            (11, 4),
            (9, 24),
            ("onnx-tensorrt 7c51a63 (11.1)", "changes 11.2 to 11.5", "NvInfer.h 11.1"),
        ),
    )
}


def parse_version(text: str) -> tuple[int, int] | None:
    """`10.3` and `10.3.0.26` are (10, 3); None where it is no version."""
    parts = text.split(".")
    if len(parts) < 2 or not all(part.isascii() and part.isdigit() for part in parts):
        return None
    return int(parts[0]), int(parts[1])
