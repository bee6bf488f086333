"""A recorded training step, held against real ones on the CPU."""

from __future__ import annotations

import ast
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from archcheck.core.cost_request import StepRequest
from archcheck.evidence.trace import Trace
from archcheck.tracing.ladder import TensorSpec, trace_module
from archcheck.tracing.step import accelerator


class Calls(nn.Module):
    """A function as a model."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function
        self.scale = nn.Parameter(torch.rand(1))

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(x * self.scale)


class Recurrent(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> Any:
        return self.inner(x)[0]


def functions() -> dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]]:
    flat, image, tokens = (6, 8), (2, 4, 10, 10), (2, 7, 8)
    elementwise: dict[str, Callable[..., Any]] = {
        "relu": torch.relu, "relu_in_place": lambda x: torch.relu_(x + 1), "gelu": F.gelu,
        "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"), "silu": F.silu,
        "sigmoid": torch.sigmoid, "tanh": torch.tanh, "elu": F.elu, "selu": F.selu,
        "leaky_relu": F.leaky_relu, "softplus": F.softplus, "hardswish": F.hardswish,
        "hardsigmoid": F.hardsigmoid, "hardtanh": F.hardtanh, "mish": F.mish, "exp": torch.exp,
        "log": lambda x: torch.log(x.abs() + 1), "sqrt": lambda x: torch.sqrt(x.abs() + 1),
        "rsqrt": lambda x: torch.rsqrt(x.abs() + 1), "sin": torch.sin, "cos": torch.cos,
        "abs": torch.abs, "square": torch.square, "pow": lambda x: x**3, "neg": torch.neg,
        "reciprocal": lambda x: torch.reciprocal(x.abs() + 1), "clamp": lambda x: x.clamp(0, 1),
        "add": lambda x: x + x, "mul": lambda x: x * x, "div": lambda x: x / (x.abs() + 1),
        "sub": lambda x: x - 2 * x, "maximum": lambda x: torch.maximum(x, -x),
        "where": lambda x: torch.where(x > 0, x, -x), "masked_fill": lambda x: x.masked_fill(
            x > 0, 0.0), "addcmul": lambda x: torch.addcmul(x, x, x), "erf": torch.erf,
        "lerp": lambda x: torch.lerp(x, -x, 0.3), "atan2": lambda x: torch.atan2(x, x + 1),
    }  # fmt: skip
    rows: dict[str, Callable[..., Any]] = {
        "softmax": lambda x: x.softmax(-1), "log_softmax": lambda x: x.log_softmax(-1),
        "sum": lambda x: x.sum(1), "mean": lambda x: x.mean(1), "var": lambda x: x.var(1),
        "max": lambda x: x.max(1).values, "amax": lambda x: x.amax(1), "norm": lambda x: x.norm(
            dim=1), "cumsum": lambda x: x.cumsum(1), "prod": lambda x: x.prod(1),
        "logsumexp": lambda x: x.logsumexp(1), "sort": lambda x: x.sort(1).values,
        "topk": lambda x: x.topk(2, 1).values, "matmul": lambda x: x @ x.t(),
        "einsum": lambda x: torch.einsum("ij,kj->ik", x, x), "cat": lambda x: torch.cat([x, x]),
        "stack": lambda x: torch.stack([x, x]), "split": lambda x: x.split(3)[0] * 2,
        "transpose": lambda x: x.t() * 2, "expand": lambda x: x[None].expand(3, -1, -1) * 2,
        "index": lambda x: x[torch.tensor([0, 2])], "gather": lambda x: x.gather(
            1, torch.zeros(6, 2, dtype=torch.int64)), "pad": lambda x: F.pad(x, (1, 1)),
        "flip": lambda x: x.flip(0), "roll": lambda x: x.roll(1, 0), "tril": torch.tril,
        "no_grad": lambda x: x * x.detach(), "normalize": lambda x: F.normalize(x),
        "cosine_similarity": lambda x: F.cosine_similarity(x, x + 1),
        "glu": lambda x: F.glu(x), "bmm": lambda x: x[None] @ x.t()[None],
        "mse_loss": lambda x: F.mse_loss(x, torch.ones(6, 8)),
        "cross_entropy": lambda x: F.cross_entropy(x, torch.zeros(6, dtype=torch.int64)),
        "bce_with_logits": lambda x: F.binary_cross_entropy_with_logits(x, torch.ones(6, 8)),
    }  # fmt: skip
    modules: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
        "linear": (lambda: nn.Linear(8, 5), flat),
        "linear_of_tokens": (lambda: nn.Linear(8, 5), tokens),
        "conv1d": (lambda: nn.Conv1d(7, 5, 3), tokens),
        "conv2d": (lambda: nn.Conv2d(4, 6, 3, padding=1), image),
        "conv2d_of_groups": (lambda: nn.Conv2d(4, 8, 3, groups=2), image),
        "conv_transpose2d": (lambda: nn.ConvTranspose2d(4, 6, 2, stride=2), image),
        "batch_norm": (lambda: nn.BatchNorm2d(4), image),
        "layer_norm": (lambda: nn.LayerNorm(8), tokens),
        "group_norm": (lambda: nn.GroupNorm(2, 4), image),
        "instance_norm": (lambda: nn.InstanceNorm2d(4), image),
        "max_pool": (lambda: nn.MaxPool2d(2), image),
        "avg_pool": (lambda: nn.AvgPool2d(2), image),
        "adaptive_avg_pool": (lambda: nn.AdaptiveAvgPool2d(3), image),
        "adaptive_max_pool": (lambda: nn.AdaptiveMaxPool2d(3), image),
        "upsample_nearest": (lambda: nn.Upsample(scale_factor=2), image),
        "upsample_bilinear": (lambda: nn.Upsample(scale_factor=2, mode="bilinear"), image),
        "prelu": (lambda: nn.PReLU(), flat),
        "dropout": (lambda: nn.Dropout(0.3), flat),
        "pixel_shuffle": (lambda: nn.PixelShuffle(2), image),
        "frozen": (lambda: nn.Linear(8, 5).requires_grad_(False), flat),
        "sequential": (lambda: nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2)), flat),
        "gru_cell": (lambda: nn.GRUCell(8, 5), flat),
    }  # fmt: skip
    for name, function in elementwise.items():
        modules[name] = (lambda f=function: Calls(f), flat)
    for name, function in rows.items():
        modules[name] = (lambda f=function: Calls(f), flat)
    return modules


def traced(build: Callable[[], nn.Module], shape: tuple[int, ...], **how: Any) -> Trace:
    how.setdefault("kernels", "cpu")
    return trace_module(build, [TensorSpec(shape, None)], training=StepRequest(**how))


@pytest.mark.parametrize("name", sorted(functions()))
def test_what_autograd_saves_is_what_it_saves_on_the_cpu(name: str) -> None:
    build, shape = functions()[name]
    saved: list[tuple[tuple[int, ...], str]] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        saved.append((tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")))
        return tensor

    model = build().train()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(torch.rand(shape))
    step = traced(build, shape).step
    assert step is not None and step.unknown is None
    ours = [(one.shape, one.dtype) for one in step.saved]
    assert sorted(ours) == sorted(saved)


def small_models() -> dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]]:
    def convolutions() -> nn.Module:
        layers: list[nn.Module] = []
        for width in (3, 16, 32):
            out = width * 2 if width > 3 else 16
            layers += [nn.Conv2d(width, out, 3, padding=1), nn.BatchNorm2d(out)]
            layers.append(nn.ReLU(inplace=True))
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))

    return {
        "perceptron": (
            lambda: nn.Sequential(nn.Linear(64, 512), nn.GELU(), nn.Linear(512, 10)), (32, 64)
        ),
        "convolutions": (convolutions, (8, 3, 32, 32)),
        "transformer": (
            lambda: nn.TransformerEncoderLayer(64, 4, 128, dropout=0.0, batch_first=True),
            (8, 32, 64),
        ),
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(small_models()))
def test_the_most_that_is_held_is_what_the_cpus_allocator_gives_out(name: str) -> None:
    build, shape = small_models()[name]
    step = traced(build, shape).step
    assert step is not None
    alive = sum(step.blocks[block].bytes for block in step.start)
    start, most = alive, 0
    for kernel in step.kernels:
        alive += sum(step.blocks[block].bytes for block in kernel.made)
        most = max(most, alive)
        alive -= sum(step.blocks[block].bytes for block in kernel.freed)
    assert most - start == pytest.approx(allocated(build, shape), rel=0.02)


def allocated(build: Callable[[], nn.Module], shape: tuple[int, ...]) -> int:
    """The most bytes that a real step takes of the CPU's allocator."""
    model, x = build().train(), torch.rand(shape)
    model(x)  # what kernels keep for themselves is there from now on
    gc.collect()
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        output = model(x)
        output.sum().backward()
    assert profile.profiler is not None
    events = [
        event
        for event in profile.profiler.kineto_results.events()  # type: ignore[union-attr]
        if event.name() == "[memory]"
    ]
    alive = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        alive += event.nbytes()
        most = max(most, alive)
    return most


@pytest.mark.parametrize("name", sorted(small_models()))
def test_the_flops_of_a_step_are_those_of_torchs_counter(name: str) -> None:
    build, shape = small_models()[name]
    step = traced(build, shape).step
    assert step is not None
    counter = FlopCounterMode(display=False)
    model = build().train()
    with counter:
        model(torch.rand(shape)).sum().backward()
    if name == "transformer":
        # Until 2.13, torch counts no attention of the CPU.
        attention = 2 * 2 * 8 * 4 * 32 * 32 * 16
        left_out = step.forward_flops + step.backward_flops - counter.get_total_flops()
        is_counted = torch.__version__ >= torch.torch_version.TorchVersion("2.14")
        assert left_out == (0 if is_counted else attention + attention * 5 // 2)
    else:
        assert step.forward_flops + step.backward_flops == counter.get_total_flops()


@pytest.mark.parametrize("name", sorted(small_models()))
def test_each_block_grows_with_the_batch_as_it_says(name: str) -> None:
    build, shape = small_models()[name]
    step = traced(build, shape).step
    other = traced(build, (shape[0] + 5, *shape[1:])).step
    assert step is not None and other is not None
    assert step.batch == shape[0]
    for now, then in zip(step.blocks, other.blocks, strict=True):
        assert now.growth is not None
        assert now.bytes + 5 * now.growth == then.bytes


def test_every_parameter_has_its_gradient_and_all_else_is_gone() -> None:
    build, shape = small_models()["convolutions"]
    step = traced(build, shape).step
    assert step is not None
    gone = {block for kernel in step.kernels for block in kernel.freed}
    left = [one for number, one in enumerate(step.blocks) if number not in gone]
    gradients = {one.name for one in left if one.kind == "gradient"}
    assert gradients == {name for name, _ in build().named_parameters()}
    # The input, the output and the loss are the training loop's.
    assert len(left) - len(gradients) in (2, 3)


def test_backward_kernels_belong_to_the_op_that_they_differentiate() -> None:
    build, shape = small_models()["convolutions"]
    trace = traced(build, shape)
    assert trace.step is not None
    pairs = {
        (kernel.name, trace.ops[kernel.op].name)
        for kernel in trace.step.kernels
        if kernel.phase == "backward" and kernel.op is not None
    }
    assert ("aten::convolution_backward", "conv2d") in pairs
    assert ("aten::native_batch_norm_backward", "batch_norm") in pairs
    assert {name for kernel, name in pairs if kernel == "aten::convolution_backward"} == {"conv2d"}


class Checkpointed(nn.Module):
    def __init__(self, used: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(32, 128), nn.GELU(), nn.Linear(128, 32)) for _ in range(4)
        )
        self.used = used

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        from torch.utils.checkpoint import checkpoint

        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False) if self.used else block(x)
        return x


def test_a_checkpoint_saves_memory_and_costs_flops() -> None:
    plain = traced(lambda: Checkpointed(False), (64, 32)).step
    used = traced(lambda: Checkpointed(True), (64, 32)).step
    assert plain is not None and used is not None
    assert used.unknown is None and used.no_backward is None
    assert used.backward_flops > plain.backward_flops
    assert max(held(used)) < max(held(plain))


def held(step: Any) -> list[int]:
    alive, found = 0, []
    for kernel in step.kernels:
        alive += sum(step.blocks[block].bytes for block in kernel.made)
        found.append(alive)
        alive -= sum(step.blocks[block].bytes for block in kernel.freed)
    return found


def test_a_model_without_gradients_says_so() -> None:
    step = traced(lambda: nn.Linear(8, 5).requires_grad_(False), (6, 8)).step
    assert step is not None and step.unknown is None
    assert step.no_backward is not None and "gradient" in step.no_backward
    assert {kernel.phase for kernel in step.kernels} == {"forward"}


@pytest.mark.parametrize("build", [nn.Identity, nn.ReLU])
def test_a_model_without_parameters_has_a_step_all_the_same(build: Any) -> None:
    step = traced(build, (6, 8)).step
    assert step is not None and step.no_backward is not None


class Complex(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(8, dtype=torch.complex64))
        self.table = nn.Parameter(torch.zeros(8, dtype=torch.int64), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight + self.table


def test_complex_and_integer_weights_are_weights_too() -> None:
    step = traced(Complex, (6, 8)).step
    assert step is not None and step.unknown is None
    gradients = [one for one in step.blocks if one.kind == "gradient"]
    assert [(one.name, one.bytes) for one in gradients] == [("weight", 64)]


def test_nothing_is_recorded_where_nobody_asks() -> None:
    trace = trace_module(lambda: nn.Linear(8, 5), [TensorSpec((6, 8), None)])
    assert trace.step is None


def test_a_precision_changes_the_step_and_not_the_trace() -> None:
    build, shape = small_models()["convolutions"]
    plain = trace_module(build, [TensorSpec(shape, None)])
    for precision in ("bf16", "fp16", "amp-bf16", "amp-fp16"):
        trace = traced(build, shape, precision=precision, kernels="accelerator")
        assert trace.step is not None and trace.step.unknown is None, trace.step
        assert trace.ops == plain.ops and trace.peak_activation_bytes == plain.peak_activation_bytes
        weights = {one.dtype for one in trace.step.blocks if one.kind == "gradient"}
        half = "bfloat16" if precision.endswith("bf16") else "float16"
        assert weights == ({half} if "amp" not in precision else {"float32"})
        made = {one.dtype for one in trace.step.blocks if one.kind == "activation"}
        assert half in made
        casts = {one.name for one in trace.step.blocks if one.kind == "cast"}
        assert bool(casts) == ("amp" in precision)


def names(*lists: str) -> set[str]:
    """The functions in torch's lists of what CUDA's autocast does, read without importing them."""
    text = (Path(torch.__file__).parent / "testing/_internal/autocast_test_lists.py").read_text()
    tree = next(
        node
        for node in ast.parse(text).body
        if isinstance(node, ast.ClassDef) and node.name == "AutocastTestLists"
    )
    return {
        item.elts[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Attribute)
        and node.targets[0].attr in lists
        for item in ast.walk(node.value)
        if isinstance(item, ast.Tuple)
        and item.elts
        and isinstance(item.elts[0], ast.Constant)
        and isinstance(item.elts[0].value, str)
    }


def test_autocast_follows_torchs_own_lists() -> None:
    lower, single = names("torch_fp16", "nn_fp16", "linalg_fp16"), names("torch_fp32", "nn_fp32")
    widest = names("torch_need_autocast_promote")
    assert len(lower) > 20 and len(single) > 30 and len(widest) > 8
    ours = accelerator.SINGLE | accelerator.SINGLE_RESULT
    assert {name for name in lower if not name.startswith("cudnn")} <= accelerator.LOWER
    assert single <= ours
    assert widest <= accelerator.WIDEST
    assert not accelerator.LOWER & ours and not ours & accelerator.WIDEST


class Language(nn.Module):
    """Four heads of eight for the query, one of keys and values."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 32)
        self.project = nn.Linear(32, 32 + 2 * 8)
        self.head = nn.Linear(32, 50)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        query, key, value = self.project(self.embed(ids)).split([32, 8, 8], dim=-1)
        query = query.unflatten(-1, (4, 8)).transpose(1, 2)
        key, value = (one[:, None].expand(-1, 4, -1, -1) for one in (key, value))
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.head(mixed.transpose(1, 2).flatten(2))


def test_keys_and_values_are_counted_before_they_are_repeated() -> None:
    from archcheck.analysis.costs.generation import generation
    from archcheck.core.precisions import precision

    trace = trace_module(Language, [TensorSpec((3, 10), "int64")], mode="eval")
    kept = generation(trace, precision("fp32"), 90, 1000)
    assert kept is not None
    assert kept.kv_cache_bytes_per_token == 2 * 8 * 4
    assert kept.cache_bytes == 3 * 100 * kept.kv_cache_bytes_per_token
    assert kept.peak_bytes > 1000 + kept.cache_bytes == kept.decode_bytes
    halved = generation(trace, precision("bf16"), 90, 1000)
    assert halved is not None and halved.kv_cache_bytes_per_token == 2 * 8 * 2


def test_the_step_of_a_model_with_whole_numbers_for_input_grows_with_its_batch() -> None:
    step = trace_module(
        Language, [TensorSpec((3, 10), "int64")], training=StepRequest(kernels="cpu")
    ).step
    assert step is not None and step.batch == 3
    assert all(block.growth is not None for block in step.blocks)
