"""torchinfo's table of a traced model, by torchinfo's own formatting, and the findings below it.

torchinfo runs the model to fill its rows; here they come from the trace, so that a model that
breaks half-way has them too. The rows are torchinfo's, its formula for multiply-adds included; the
totals are the report's, which count every parameter and every operator once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from archcheck.core.report import Report
from archcheck.core.target import UsageError
from archcheck.evidence.records import ValueIndex
from archcheck.evidence.target_summary import TargetReport
from archcheck.evidence.training_step import DTYPE_BYTES
from archcheck.output import Options, concise

try:
    import torchinfo
    from torchinfo import ModelStatistics as ModelStatistics
    from torchinfo.enums import ColumnSettings, RowSettings
    from torchinfo.formatting import FormattingOptions
    from torchinfo.layer_info import LayerInfo
    from torchinfo.torchinfo import set_children_layers
except ImportError as error:
    raise UsageError(
        f"torchinfo's table needs torchinfo ({error}): pip install torchinfo, "
        'or pip install "archcheck-torch[trace]"'
    ) from None

if TYPE_CHECKING:
    from archcheck.evidence.records import Module, ModuleCall, Parameter
    from archcheck.evidence.trace import Trace

# torchinfo's own defaults, as of 1.8.
COLUMNS = ("output_size", "num_params")
ROWS = ("depth",)
COLUMN_WIDTH, DEPTH = 25, 3


class TableOptions(NamedTuple):
    """What torchinfo's `summary` is told of its table; its documentation describes each."""

    col_names: Iterable[str] = COLUMNS
    col_width: int = COLUMN_WIDTH
    depth: int = DEPTH
    row_settings: Iterable[str] = ROWS
    verbose: int = 1
    batch_dim: int | None = None


def render(report: Report, options: Options) -> str:
    """The tables of all traced models, then the findings, a line each."""
    depth = DEPTH if options.depth is None else options.depth
    tables = [
        f"{statistics(target, TableOptions(depth=depth))}\n"
        for target in report.targets
        if target.built and not options.quiet
    ]
    return "\n".join([*tables, *filter(None, [concise.render(report, options)])])


class Statistics(ModelStatistics):
    """torchinfo's statistics of one model, with right totals and with why the pass ended early."""

    def __init__(self, target: TargetReport, rows: list[LayerInfo], table: TableOptions) -> None:
        trace = target.trace
        formatting = FormattingOptions(
            table.depth,
            table.verbose,
            tuple(_known(ColumnSettings, table.col_names, "col_names")),
            table.col_width,
            set(_known(RowSettings, table.row_settings, "row_settings")),
        )
        sizes = [list(tensor.shape) for tensor in target.inputs]
        input_bytes = sum(_bytes(tensor.dtype) * prod(tensor.shape) for tensor in target.inputs)
        super().__init__(rows, sizes, input_bytes, formatting)
        weights = [one for one in trace.parameters if not one.buffer]
        self.total_params = sum(one.count for one in weights)
        self.trainable_params = sum(one.count for one in weights if one.trainable)
        self.total_param_bytes = sum(one.count * _bytes(one.dtype) for one in weights)
        self.total_mult_adds = trace.macs
        self.failures = tuple(f"{one.error}: {one.message}" for one in trace.failures)

    def __repr__(self) -> str:
        table = super().__repr__()
        said = [f"Stopped by {' '.join(failure.split())}" for failure in self.failures]
        return "\n".join([table, *said])


def statistics(target: TargetReport, table: TableOptions) -> Statistics:
    """Return torchinfo's statistics of a traced model; printing them prints its table.

    Raises:
        UsageError: A column or a row setting is not one of torchinfo's.
    """
    rows = list(_rows(target.trace, table.batch_dim))
    set_children_layers(rows)
    return Statistics(target, rows, table)


def without_a_pass(model: Any, table: TableOptions) -> ModelStatistics:
    """Return what torchinfo itself says of a model that is not run: its layers and parameters.

    Raises:
        UsageError: A column needs a pass.
    """
    try:
        return torchinfo.summary(
            model,
            col_names=None if table.col_names is COLUMNS else table.col_names,
            col_width=table.col_width,
            depth=table.depth,
            row_settings=table.row_settings,
            verbose=0,
        )
    except ValueError as error:
        raise UsageError(str(error)) from None


def _known(names: Any, given: Iterable[str], option: str) -> Iterator[Any]:
    """The members of one of torchinfo's enumerations.

    Raises:
        UsageError: There is no such member.
    """
    known = [member.value for member in names]
    for name in given:
        value = getattr(name, "value", name)
        if value not in known:
            raise UsageError(f"{option}: {value!r} is none of {', '.join(known)}")
        yield names(value)


class _Row(LayerInfo):
    """A row for a call of a module, or for a container that has no call of its own."""

    def __init__(
        self, module: Module, path: str, parameters: Sequence[tuple[str, Parameter]]
    ) -> None:
        # torchinfo's own constructor takes the module itself, which only the trace has seen.
        self.layer_id = id(module)
        self.class_name = module.type
        self.depth = path.count(".") + 1 if path else 0
        self.depth_index = None
        self.children = []
        self.executed = False
        self.var_name = path.rpartition(".")[2] or module.type
        self.is_leaf_layer = not module.children
        self.is_recursive = False
        self.input_size, self.output_size = [], []
        size = module.attributes.get("kernel_size")
        self.kernel_size = list(size) if isinstance(size, tuple | list) else size
        self.output_bytes = self.macs = 0
        self.num_params = sum(one.count for _, one in parameters)
        self.trainable_params = sum(one.count for _, one in parameters if one.trainable)
        self.param_bytes = sum(one.count * _bytes(one.dtype) for _, one in parameters)
        shown = [(name, one) for name, one in parameters if path or "." not in name]
        self.inner_layers = {
            name: {
                ColumnSettings.KERNEL_SIZE: str(_kernel_size(name, one)),
                ColumnSettings.NUM_PARAMS: f"{'└' if one is shown[-1][1] else '├'}─{one.count:,}",
            }
            for name, one in shown
        }

    def fill(
        self,
        trace: Trace,
        call: ModuleCall,
        parameters: Sequence[tuple[str, Parameter]],
        batch_dim: int | None,
    ) -> None:
        """Add what one call showed."""
        self.executed = call.failure is None
        self.input_size, _ = _first_size(trace, next(iter(call.inputs.values()), None), batch_dim)
        self.output_size, width = _first_size(trace, call.outputs, batch_dim)
        self.output_bytes = width * prod(self.output_size)
        if self.output_size:
            self.macs = sum(self._positions(name) * one.count for name, one in parameters)

    def _positions(self, name: str) -> int:
        """How often torchinfo takes a parameter to be applied (`LayerInfo.calculate_macs`)."""
        if name in ("weight", "bias"):
            sizes = self.output_size[:1]
            return prod(sizes + self.output_size[2:] if "Conv" in self.class_name else sizes)
        return prod(self.output_size[:2]) if "weight" in name or "bias" in name else 0


def _rows(trace: Trace, batch_dim: int | None) -> Iterator[LayerInfo]:
    """A row for each call, and one before the first call in each container that is not called."""
    parameters = _parameters_below(trace)
    seen: set[str] = set()
    above: list[str] = []  # the path of the last row at each depth

    def row(path: str, module: Module) -> _Row:
        made = _Row(module, path, parameters.get(path, ()))
        made.is_recursive = module.path in seen
        seen.add(module.path)
        return made

    for call in trace.calls:
        module = trace.module(call.path)
        if module is None:
            continue
        parts = call.path.split(".") if call.path else []
        for depth in range(1, len(parts)):
            container = ".".join(parts[:depth])
            held = trace.module(container)
            if (len(above) <= depth or above[depth] != container) and held is not None:
                above[depth:] = [container]
                yield row(container, held)
        above[len(parts) :] = [call.path]
        made = row(call.path, module)
        made.fill(trace, call, parameters.get(call.path, ()), batch_dim)
        yield made


def _parameters_below(trace: Trace) -> Mapping[str, Sequence[tuple[str, Parameter]]]:
    """The parameters of each module and of those below it, by the names that they have there."""
    below: dict[str, dict[int, tuple[str, Parameter]]] = {}
    for number, one in enumerate(trace.parameters):
        for name in () if one.buffer else (one.name, *one.aliases):
            parts = name.split(".")
            for depth in range(len(parts)):
                names = below.setdefault(".".join(parts[:depth]), {})
                names.setdefault(number, (".".join(parts[depth:]), one))
    return {path: tuple(names.values()) for path, names in below.items()}


def _bytes(dtype: str) -> int:
    """The bytes of an element; what is packed tighter than in bytes counts as one."""
    return max(1, int(DTYPE_BYTES.get(dtype, 4)))


def _kernel_size(name: str, parameter: Parameter) -> list[int]:
    size = list(parameter.shape)
    return [size[1], size[0], *size[2:]] if name == "weight" and len(size) > 1 else size


def _first_size(trace: Trace, nest: Any, batch_dim: int | None) -> tuple[list[int], int]:
    """The shape that stands for a nest in the table, and the bytes of an element: that of its
    first tensor, in a dict that of the last value."""
    while not isinstance(nest, ValueIndex):
        members = list(nest.values())[::-1] if isinstance(nest, Mapping) else nest
        if not isinstance(members, list | tuple) or not members:
            return [], 0
        nest = members[0]
    value = trace.values[nest.index]
    size = list(value.shape)
    if batch_dim is not None and batch_dim < len(size):
        size[batch_dim] = 1
    return size, _bytes(value.dtype)
