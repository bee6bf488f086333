"""Source files that are no program: templates that another file is generated from."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from archcheck.python import SourceFile


def is_template(file: SourceFile) -> bool:
    """Whether a file is written in the `modular` dialect of transformers.

    There `super().__init__(config)` says where the base's lines are to be put, and
    `def forward(**super_kwargs)` that only the docstring changes; what runs, and what is checked,
    is the `modeling_*.py` that a converter writes beside it.
    """
    name = file.place.name
    if not name.startswith("modular_"):
        return False
    return file.project.stands_beside(f"modeling_{name.removeprefix('modular_')}", file)
