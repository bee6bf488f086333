"""What torch has taken away or will, in which version, and what takes its place.

Measured with each torch from 2.6 to 2.15; tests/rules/test_old_names.py asks the one that runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Gone(NamedTuple):
    """Something that raises.

    Attributes:
        instead: What to write today.
        since: The first version without it; "" before the oldest that is supported.
        same_call: Whether the same arguments give the same answer there.
    """

    instead: str
    since: str = ""
    same_call: bool = False


class Deprecated(NamedTuple):
    """Something that still works, and warns.

    Attributes:
        instead: What to write today.
        since: The first version that warns; "" before the oldest that is supported.
        until: The version that it goes with, where torch names one.
    """

    instead: str
    since: str = ""
    until: str = ""


FUNCTIONS: Mapping[str, Gone] = MappingProxyType(
    {
        "torch.btrifact": Gone("torch.linalg.lu_factor"),
        "torch.btrisolve": Gone("torch.linalg.lu_solve"),
        "torch.cholesky": Gone("torch.linalg.cholesky", "2.14", same_call=True),
        "torch.eig": Gone("torch.linalg.eig"),
        "torch.export.export_for_training": Gone("torch.export.export", "2.11"),
        "torch.fft": Gone("torch.fft.fft"),
        "torch.gels": Gone("torch.linalg.lstsq"),
        "torch.gesv": Gone("torch.linalg.solve"),
        "torch.ifft": Gone("torch.fft.ifft"),
        "torch.irfft": Gone("torch.fft.irfft"),
        "torch.is_deterministic": Gone("torch.are_deterministic_algorithms_enabled"),
        "torch.lstsq": Gone("torch.linalg.lstsq"),
        "torch.matrix_rank": Gone("torch.linalg.matrix_rank"),
        "torch.onnx.dynamo_export": Gone("torch.onnx.export(…, dynamo=True)", "2.9"),
        "torch.potrf": Gone("torch.linalg.cholesky"),
        "torch.potri": Gone("torch.cholesky_inverse"),
        "torch.potrs": Gone("torch.cholesky_solve"),
        "torch.qr": Gone("torch.linalg.qr", "2.14", same_call=True),
        "torch.rfft": Gone("torch.fft.rfft"),
        "torch.set_deterministic": Gone("torch.use_deterministic_algorithms"),
        "torch.solve": Gone("torch.linalg.solve"),
        "torch.symeig": Gone("torch.linalg.eigh"),
        "torch.trtrs": Gone("torch.linalg.solve_triangular"),
    }
)

# Methods of a tensor, which are gone with the functions of the same name.
METHODS = tuple("cholesky eig lstsq qr solve symeig".split())

# Of modules that cannot be imported any more, the names that people import.
MODULES: Mapping[str, Gone] = MappingProxyType(
    {
        "torch._six.container_abcs": Gone("collections.abc"),
        "torch._six.inf": Gone("torch.inf"),
        "torch._six.int_classes": Gone("int"),
        "torch._six.nan": Gone("torch.nan"),
        "torch._six.string_classes": Gone("str"),
        "torch.utils.data.DataLoader2": Gone("torch.utils.data.DataLoader"),
        "torch.utils.ffi.create_extension": Gone("torch.utils.cpp_extension"),
        "torch.utils.serialization.load_lua": Gone("a checkpoint that torch.save wrote"),
    }
)

# Keywords that a callee takes no more: the beginning of its name, and the keyword.
KEYWORDS: Mapping[tuple[str, str], Gone] = MappingProxyType(
    {
        ("torch.optim.lr_scheduler.", "verbose"): Gone("scheduler.get_last_lr()", "2.7"),
        ("torch.autograd.profiler.profile", "use_cuda"): Gone('use_device="cuda"', "2.14"),
        ("torch.profiler.profile", "use_cuda"): Gone(
            "activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]", "2.14"
        ),
    }
)

_WITHOUT_UNDERSCORE = (
    "constant dirac eye kaiming_normal kaiming_uniform normal orthogonal sparse uniform "
    "xavier_normal xavier_uniform"
)
_SCRIPTED = "torch.compile or torch.export.export"

DEPRECATED: Mapping[str, Deprecated] = MappingProxyType(
    {
        **{
            f"torch.nn.init.{name}": Deprecated(f"torch.nn.init.{name}_")
            for name in _WITHOUT_UNDERSCORE.split()
        },
        "torch.autograd.profiler.load_nvprof": Deprecated("torch.profiler.profile", "2.15", "2.17"),
        "torch.backends.cuda.sdp_kernel": Deprecated("torch.nn.attention.sdpa_kernel"),
        "torch.chain_matmul": Deprecated("torch.linalg.multi_dot"),
        "torch.cpu.amp.GradScaler": Deprecated('torch.amp.GradScaler("cpu")'),
        "torch.cpu.amp.autocast": Deprecated('torch.amp.autocast("cpu")'),
        "torch.cuda.amp.GradScaler": Deprecated('torch.amp.GradScaler("cuda")'),
        "torch.cuda.amp.autocast": Deprecated('torch.amp.autocast("cuda")'),
        "torch.cuda.amp.custom_bwd": Deprecated('torch.amp.custom_bwd(device_type="cuda")'),
        "torch.cuda.amp.custom_fwd": Deprecated('torch.amp.custom_fwd(device_type="cuda")'),
        "torch.cuda.max_memory_cached": Deprecated("torch.cuda.max_memory_reserved"),
        "torch.cuda.memory_cached": Deprecated("torch.cuda.memory_reserved"),
        "torch.jit.freeze": Deprecated("torch.compile", "2.11"),
        "torch.jit.load": Deprecated("torch.export.load", "2.10"),
        "torch.jit.script": Deprecated(_SCRIPTED, "2.10"),
        "torch.jit.trace": Deprecated(_SCRIPTED, "2.10"),
        "torch.lu": Deprecated("torch.linalg.lu_factor"),
        "torch.lu_solve": Deprecated("torch.linalg.lu_solve"),
        "torch.nn.NLLLoss2d": Deprecated("torch.nn.NLLLoss"),
        "torch.nn.functional.upsample": Deprecated("torch.nn.functional.interpolate"),
        "torch.nn.functional.upsample_bilinear": Deprecated("torch.nn.functional.interpolate"),
        "torch.nn.functional.upsample_nearest": Deprecated("torch.nn.functional.interpolate"),
        "torch.nn.utils.clip_grad_norm": Deprecated("torch.nn.utils.clip_grad_norm_"),
        "torch.nn.utils.stateless.functional_call": Deprecated("torch.func.functional_call"),
        "torch.nn.utils.weight_norm": Deprecated("torch.nn.utils.parametrizations.weight_norm"),
        "torch.range": Deprecated("torch.arange"),
        "torch.set_default_tensor_type": Deprecated(
            "torch.set_default_dtype and torch.set_default_device"
        ),
        "torch.testing.assert_allclose": Deprecated("torch.testing.assert_close"),
        "torch.triangular_solve": Deprecated("torch.linalg.solve_triangular"),
    }
)
