#!/usr/bin/env bash
# safetensors 0.8.0, numpy 2.4.0, ml_dtypes 0.6.0: `safetensors.numpy` saves bfloat16 by both of its
# doors and loads it by one. `load_file` gives the array; `load` of the same bytes raises KeyError.
# Guess: both load it, since both saved it.
#
# Output seen:
#   load_file: bfloat16 [1.0, 2.0]
#   load: KeyError 'BF16'
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet safetensors==0.8.0 numpy==2.4.0 ml_dtypes==0.6.0
cd "$folder"
venv/bin/python - <<'PY'
import ml_dtypes
import numpy as np
from safetensors.numpy import load, load_file, save, save_file

tensors = {"weight": np.array([1, 2], ml_dtypes.bfloat16)}
save_file(tensors, "x.safetensors")
loaded = load_file("x.safetensors")["weight"]
print("load_file:", loaded.dtype, loaded.astype(float).tolist())
try:
    load(save(tensors))
except KeyError as error:
    print("load: KeyError", error)
else:
    raise SystemExit("load takes it now")
PY
