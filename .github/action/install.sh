#!/usr/bin/env bash
# Install archcheck from the action's own folder, with torch where a version is asked for.
#
# Usage: install.sh FOLDER. TORCH_VERSION may be empty.
set -euo pipefail
if [ -n "${TORCH_VERSION:-}" ]; then
  python -m pip install --quiet "torch==$TORCH_VERSION" "$1[trace]"
else
  python -m pip install --quiet "$1"
fi
