#!/usr/bin/env bash
# Everything that only a device can show, in one command: facts about it, the engine's build, the
# device tests, every stage cold and warm in each power mode, the loop's latency; at the end rows for
# the README's table, each beside what was predicted, and one JSON line.
#
#     benchmarks/on_device.sh [BUNDLE [RESULTS]]
#
# BUNDLE defaults to a copy of the packaged pocket model, RESULTS to ./on-device. With sudo it takes
# every power mode that the device has and puts back the one before; without, only the present one is
# measured. BENCH_ARGS are passed on to `otter-edge bench`, LATENCY_ARGS to benchmarks/latency.py.
# Exit code: 2 where TensorRT or a GPU is missing, 1 where a device test fails.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-python3}
results=${2:-on-device}
mkdir -p "$results"

if ! "$python" -c 'import pytest, onnx, otter_runtime' 2>"$results/imports.txt"; then
    tail -n 1 "$results/imports.txt" >&2
    echo "on_device.sh needs the project and two packages; run: pip install -e robots -e . pytest onnx" >&2
    exit 2
fi

bundle=${1:-}
if [[ -z $bundle ]]; then
    packaged=$("$python" -c 'import otter_runtime, pathlib; print(pathlib.Path(otter_runtime.__file__).parent / "pocket" / "bundle-int8")')
    bundle=$results/pocket
    [[ -d $bundle ]] || cp -r "$packaged" "$bundle"
fi

first_line() { # of what a program says, or of a file; "unknown" where there is neither
    local line
    line=$({ if [[ -r $1 ]]; then tr -d '\0' <"$1"; else "$@" 2>/dev/null; fi || true; } | head -n 1)
    echo "${line:-unknown}"
}

{
    echo "model: $(first_line /proc/device-tree/model)"
    echo "l4t: $(first_line /etc/nv_tegra_release)"
    echo "jetpack: $(first_line dpkg-query --show "--showformat=\${Version}" nvidia-jetpack)"
    echo "power: $(first_line nvpmodel -q)"
    echo "clocks: $(first_line jetson_clocks --show)"
    echo "gpu: $(first_line nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader)"
    echo "memory: $(awk '/MemTotal/ {print $2, $3}' /proc/meminfo)"
    echo "kernel: $(uname -srm)"
    echo "python: $("$python" --version)"
    echo "commit: $(git -C "$here" rev-parse --short HEAD 2>/dev/null || echo unknown)"
} | tee "$results/facts.txt"

cd "$here"
results=$(cd "$OLDPWD" && cd "$results" && pwd)
[[ $bundle == /* ]] || bundle=$OLDPWD/$bundle

"$python" -m otter_runtime build "$bundle" --json >"$results/build.json"

passed=0
OTTER_EDGE_BUNDLE=$bundle "$python" -m pytest -m jetson tests/runtime/test_on_device.py 2>&1 |
    tee "$results/tests.txt" || passed=1

read -r -a more <<<"${BENCH_ARGS:-}"
"$python" -m otter_runtime bench --device --bundle "$bundle" --provider tensorrt-native --json \
    ${more[@]+"${more[@]}"} >"$results/bench.json"

read -r -a more <<<"${LATENCY_ARGS:-}"
"$python" benchmarks/latency.py --bundle "$bundle" --provider tensorrt-native --json \
    ${more[@]+"${more[@]}"} >"$results/latency.json"

"$python" benchmarks/device_row.py "$results" | tee "$results/row.txt"
exit "$passed"
