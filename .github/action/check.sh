#!/usr/bin/env bash
# Check, and leave what was found where GitHub looks for it: the log, the job's summary, two files.
#
# TARGETS, FORMAT, FAIL_ON, BASELINE and COMPARE_WITH are the action's inputs; RUNNER_TEMP,
# GITHUB_STEP_SUMMARY and GITHUB_OUTPUT are GitHub's. The exit code is archcheck's.
set -uo pipefail

folder="${RUNNER_TEMP:-$(mktemp -d)}"
sarif="$folder/archcheck.sarif" markdown="$folder/archcheck.md" log="$folder/archcheck.log"
rm -f "$sarif" "$markdown" "$log"

# A target such as `model.py:Net(3, "relu")` may hold spaces: quotes keep it together.
targets=()
if [ -n "${TARGETS:-}" ]; then
  while IFS= read -r -d '' target; do targets+=("$target"); done \
    < <(xargs printf '%s\0' <<< "$TARGETS")
fi
options=(--fail-on "${FAIL_ON:-warning}")
[ -n "${BASELINE:-}" ] && options+=(--baseline "$BASELINE")

archcheck check "${targets[@]}" "${options[@]}" --format "${FORMAT:-github}" \
  --output "$log" --output "$sarif" --output "$markdown" > /dev/null
code=$?
[ -f "$log" ] && cat "$log"

if [ -n "${COMPARE_WITH:-}" ] && [ -f "$markdown" ]; then
  archcheck diff "$COMPARE_WITH" --format markdown >> "$markdown" || [ $? -eq 1 ] || code=$?
fi
[ -f "$markdown" ] && [ -n "${GITHUB_STEP_SUMMARY:-}" ] && cat "$markdown" >> "$GITHUB_STEP_SUMMARY"
if [ -n "${GITHUB_OUTPUT:-}" ]; then
  for name in sarif markdown; do
    [ -f "${!name}" ] && echo "$name=${!name}" >> "$GITHUB_OUTPUT"
  done
fi
exit "$code"
