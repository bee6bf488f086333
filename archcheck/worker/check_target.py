"""What can be said of a request before anything is run: that its file or its name is not there."""

from __future__ import annotations

from pathlib import Path

from archcheck.core.target import Target, TraceRequest
from archcheck.worker.inputs.constructor_arguments import call_of, check_names, names_in
from archcheck.worker.slicing.module_source import ModuleSource, read_source
from archcheck.worker.slicing.suggest import no_such_name


def check_request(request: TraceRequest) -> None:
    """Complain of a target that is plainly not there.

    Raises:
        UsageError: No such file, no such name in it, or unknown names among the arguments.
    """
    for target in (request.target, request.input_from):
        if target is not None and target.is_file:
            check_target(target, read_source(Path(target.place), request.buffers))


def check_target(target: Target, source: ModuleSource) -> None:
    """Complain of a name that the file doesn't bind.

    Raises:
        UsageError: It doesn't, or an argument of the target's call is not defined in it.
    """
    name = target.name.partition(".")[0]
    units = source.units
    # A star import may bind any name, and so may the statements that don't parse.
    if not units.stars and source.complete and "globals" not in units.names_read:
        line = source.line_in_code(target)
        if not any(line is None or unit.line >= line for unit in units.binders.get(name, [])):
            raise no_such_name(target, source)
    call = call_of(target)
    if call is not None and source.complete:
        check_names(target, names_in(call), units)
