"""What a trace costs, beside what it is made of and beside other tools.

    python benchmarks/trace_speed.py [repeats]

Everything runs in fresh processes, interleaved, and the median of the repeats is shown: on a
machine that does other things too, only ratios of one run mean anything. torchinfo and fvcore are
needed for the comparison.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

MODELS = Path(__file__).parent.parent / "fixtures" / "models"

TIMED = """
import json, resource, sys, time
sys.path.insert(0, {models!r})
begin = time.perf_counter()
import torch
imported = time.perf_counter()
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
{code}
print(json.dumps({{
    "import": imported - begin,
    "rest": time.perf_counter() - imported,
    "total": time.perf_counter() - begin,
    "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / memory,
    **more,
}}))
"""

TRACE = """
from archcheck.tracing.ladder import TensorSpec, trace_module
import {module}
ready = time.perf_counter()
trace = trace_module(
    {module}.{name}, [TensorSpec({shape}, {dtype!r})], user_files=[{module}.__file__]
)
assert trace.complete and trace.rung == "meta" and not trace.failures
more = {{"ops": len(trace.ops), "trace": time.perf_counter() - ready}}
"""

OTHERS = """
import resnet152 as resnet, torchinfo
from fvcore.nn import FlopCountAnalysis
model = resnet.resnet152()
x = torch.randn(8, 3, 224, 224)
torchinfo.summary(model, input_data=x, verbose=0)
FlopCountAnalysis(model, x).unsupported_ops_warnings(False).total()
more = {}
"""

WARM = """
import resnet152 as resnet
from archcheck.tracing.ladder import TensorSpec, trace_module

def best(run, times=7):
    seconds = []
    for _ in range(times):
        begin = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - begin)
    return sorted(seconds)[len(seconds) // 2]

with torch.device("meta"):
    model = resnet.resnet152()
    x = torch.empty(8, 3, 224, 224)
spec = [TensorSpec((8, 3, 224, 224))]
model(x), trace_module(resnet.resnet152, spec)
bare, built = best(lambda: model(x)), best(lambda: trace_module(resnet.resnet152, spec))
more = {"bare": bare, "traced": built, "ratio": built / bare}
"""

DEPTH = """
from torch import nn
from archcheck.tracing.ladder import TensorSpec, trace_module

class Deep(nn.Module):
    def __init__(self, depth):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(64, 64) for _ in range(depth))

    def forward(self, x):
        for layer in self.layers:
            x = x + layer(x).relu()
        return x

def seconds(depth):
    found = []
    for _ in range(5):
        begin = time.perf_counter()
        trace_module(lambda: Deep(depth), [TensorSpec((8, 64))])
        found.append(time.perf_counter() - begin)
    return sorted(found)[2]

seconds(10)
shallow, deep = seconds(200), seconds(2000)
more = {"shallow": shallow, "deep": deep, "ratio": deep / shallow}
"""


def run(code: str) -> dict[str, float]:
    text = TIMED.format(models=str(MODELS), code=code)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", text], capture_output=True, text=True, check=True
    )
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    resnet = TRACE.format(
        module="resnet152", name="resnet152", shape=(8, 3, 224, 224), dtype="float32"
    )
    llama = TRACE.format(module="llama405b", name="llama405b", shape=(1, 8192), dtype="int64")
    codes = {"torch": "more = {}", "resnet152": resnet, "llama 405B": llama, "others": OTHERS}
    codes |= {"warm": WARM, "depth": DEPTH}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in codes}
    for _ in range(repeats):
        for name, code in codes.items():
            found[name].append(run(code))

    def median(name: str, figure: str) -> float:
        return statistics.median(figures[figure] for figures in found[name])

    torch = median("torch", "total")
    rows = [
        ("import torch", f"{torch:.2f} s", "1.00 x"),
        ("import torch, trace resnet152", f"{median('resnet152', 'total'):.2f} s",
         f"{median('resnet152', 'total') / torch:.2f} x import torch"),
        ("torchinfo.summary and fvcore on resnet152", f"{median('others', 'total'):.2f} s",
         f"{median('others', 'total') / median('resnet152', 'total'):.1f} x the trace"),
        ("bare meta forward of resnet152, warm", f"{median('warm', 'bare'):.3f} s", ""),
        ("build and trace resnet152, warm", f"{median('warm', 'traced'):.3f} s",
         f"{median('warm', 'ratio'):.2f} x the bare forward"),
        ("200 layers, warm", f"{median('depth', 'shallow'):.3f} s", ""),
        ("2000 layers, warm", f"{median('depth', 'deep'):.3f} s",
         f"{median('depth', 'ratio'):.1f} x for 10 x the ops"),
        ("Llama of 405 B, 8192 tokens, after imports", f"{median('llama 405B', 'trace'):.2f} s",
         f"{median('llama 405B', 'ops'):.0f} ops"),
        ("its peak memory", "", f"{median('llama 405B', 'memory'):.2f} x import torch"),
    ]  # fmt: skip
    print(f"| {'what':44} | {'median':>8} | {'beside':28} |")
    print(f"| {'-' * 44} | {'-' * 7}: | {'-' * 28} |")
    for what, figure, beside in rows:
        print(f"| {what:44} | {figure:>8} | {beside:28} |")


if __name__ == "__main__":
    main()
