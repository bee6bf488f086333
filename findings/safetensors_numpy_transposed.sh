#!/usr/bin/env bash
# safetensors 0.8.0, numpy 2.4.0: `safetensors.numpy.save` writes a transposed array's memory as it
# lies, under the transposed shape. What is loaded has the shape and other values; nothing is raised.
# (safetensors.torch.save refuses a tensor that is not contiguous.) Checks of shapes cannot see it.
# Guess: it is copied into order first, as numpy.save does.
#
# Output seen:
#   saved:  [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
#   loaded: [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet safetensors==0.8.0 numpy==2.4.0
"$folder/venv/bin/python" - <<'PY'
import numpy as np
from safetensors.numpy import load, save

transposed = np.arange(6, dtype=np.float32).reshape(2, 3).T
loaded = load(save({"weight": transposed}))["weight"]
print("saved: ", transposed.tolist())
print("loaded:", loaded.tolist())
assert loaded.shape == transposed.shape
assert not np.array_equal(loaded, transposed), "it keeps the values now"
ordered = load(save({"weight": np.ascontiguousarray(transposed)}))["weight"]
assert np.array_equal(ordered, transposed)
PY
