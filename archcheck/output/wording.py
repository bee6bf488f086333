"""The words and numbers that several formats share."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from archcheck.core.finding import Finding
from archcheck.core.report import Repairs, Report, source_key

if TYPE_CHECKING:
    from archcheck.core.target import Shape
    from archcheck.evidence.records import Sizes
    from archcheck.evidence.target_summary import TargetReport, Tensor

# Control characters in a source line or an exception's text could redraw the terminal, and the
# bidirectional ones could show code in another order than Python reads it.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029]")


def printable(text: str) -> str:
    """The text with a replacement character for each control character; keeps tab and newline."""
    return _CONTROL.sub("\ufffd", text)


def one_line(text: str) -> str:
    """The text as one printable line."""
    return printable(" ".join(text.split()))


def plural(count: int, noun: str) -> str:
    """`1 file`, `1,204 files`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def summary(report: Report) -> str:
    """`2 errors, 1 warning in 1 file; 1 suppressed`, or `All checks passed (12 files)`."""
    counts = report.summary
    found = [
        plural(number, noun)
        for number, noun in (
            (counts.error, "error"),
            (counts.warning, "warning"),
            (counts.note, "note"),
        )
        if number
    ]
    files = plural(counts.files, "file")
    # Where a target or a rule was not checked at all, not all has passed.
    calm = "Nothing found" if report.usage_errors or report.defects else "All checks passed"
    text = f"{', '.join(found)} in {files}" if found else f"{calm} ({files})"
    if counts.suppressed:
        text += f"; {counts.suppressed:,} suppressed"
    if counts.baseline:
        text += f"; {counts.baseline:,} in the baseline"
    fixes = fixes_text(report)
    return f"{text}; {fixes}" if fixes else text


def fixes_text(report: Report) -> str:
    """`fixed 5, 2 more with --unsafe-fixes`, `5 fixable with --fix`, or nothing."""
    kinds = Counter(finding.fix.safety for finding in report.findings if finding.fix)
    parts = []
    if report.repairs is not None:
        done = "fixed" if report.repairs.written else "would fix"
        parts.append(f"{done} {report.repairs.fixed:,}")
    if kinds["safe"]:
        parts.append(f"{kinds['safe']:,} fixable with --fix")
    if kinds["unsafe"]:
        more = " more" if parts else ""
        parts.append(f"{kinds['unsafe']:,}{more} with --unsafe-fixes")
    return ", ".join(parts)


def mended_text(repairs: Repairs) -> list[str]:
    """What was fixed, a line per file: `fixed net.py: AC101, AC107 (2)`."""
    files: dict[str, list[str]] = {}
    for path, code, number in repairs.mended:
        files.setdefault(path, []).append(code if number == 1 else f"{code} ({number:,})")
    return [f"fixed {path}: {', '.join(codes)}" for path, codes in files.items()]


def count_by_rule(report: Report) -> list[str]:
    """How often each rule fired, the most frequent first."""
    counts: Counter[tuple[str, str]] = Counter()
    for finding in report.findings:
        counts[finding.code, finding.name] += 1
    width = max((len(f"{number:,}") for number in counts.values()), default=0)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [f"{number:>{width},}  {code} {name}" for (code, name), number in ordered]


def details(finding: Finding) -> list[str]:
    """What a finding says besides its message, for formats that show no source."""
    return [
        *([finding.label] if finding.label else []),
        *(
            f"{source_key(one.location)}:{one.location.line}: {one.message}"
            for one in finding.related
        ),
        *finding.notes,
        *([f"help: {finding.help}"] if finding.help else []),
    ]


def help_and_code(finding: Finding) -> tuple[str, list[str]]:
    """Return the sentence of the help, and the lines of code behind it."""
    sentence, _, code = (finding.help or "").partition("\n")
    return sentence, code.splitlines()


def shape_text(tensor: Tensor | Shape) -> str:
    """`[8, 64, 56, 56]`; a guessed one ends in a question mark."""
    if isinstance(tensor, tuple):
        return f"[{', '.join(map(str, tensor))}]"
    return shape_text(tensor.shape) + ("?" if tensor.guessed else "")


def tensor_text(tensor: Tensor) -> str:
    """`x [8, 3, 224, 224]`, with the dtype where it is not float32."""
    text = f"{tensor.name} {shape_text(tensor)}".strip()
    return text if tensor.dtype in ("float32", "torch.float32") else f"{text} {tensor.dtype}"


def tensors_text(tensors: tuple[Tensor, ...], limit: int = 4) -> str:
    """The first few tensors, and how many more there are."""
    texts = [tensor_text(tensor) for tensor in tensors[:limit]]
    if len(tensors) > limit:
        texts.append(f"and {len(tensors) - limit} more")
    return ", ".join(texts) or "no tensor"


def scaled(number: int) -> str:
    """Three or four significant digits with the SI prefix: `29.26 G`, `118 k`, `640`."""
    value, prefix = float(number), ""
    for larger in ("k", "M", "G", "T", "P", "E"):
        # 999,950 is 1.00 M and never 1000.0 k.
        if value < (999.95 if prefix else 1000):
            break
        value, prefix = value / 1000, larger
    if not prefix:
        return str(number)
    digits = 2 if value < 99.995 else 1
    return f"{value:.{digits}f} {prefix}"


def byte_text(number: int) -> str:
    """In binary units: `392.00 MiB`."""
    value, unit = float(number), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB", "PiB"):
        if value < 1000:
            break
        value, unit = value / 1024, larger
    return f"{number:,} B" if unit == "B" else f"{value:.2f} {unit}"


def sizes_text(sizes: Sizes) -> str:
    """`H 163 to 226`, `W 16 to 1024 in steps of 16`; the end of the search is no limit."""
    step = f" in steps of {sizes.multiple_of}" if sizes.multiple_of > 1 else ""
    if sizes.low == sizes.high:
        return f"{sizes.dimension} only {sizes.low}"
    if sizes.high + sizes.multiple_of > sizes.searched:
        return f"{sizes.dimension} from {sizes.low}{step} (searched up to {sizes.searched})"
    return f"{sizes.dimension} {sizes.low} to {sizes.high}{step}"


def valid_sizes_text(target: TargetReport) -> str | None:
    """The sizes that the model accepts, H and W in one where they are alike."""
    sizes = target.valid_input_sizes
    if not sizes:
        return None
    groups: dict[tuple[int, int, int, int, bool], list[Sizes]] = {}
    for one in sizes:
        key = (one.low, one.high, one.multiple_of, one.searched, one.others)
        groups.setdefault(key, []).append(one)
    return "; ".join(
        " and ".join(one.dimension for one in group)
        + sizes_text(group[0]).removeprefix(group[0].dimension)
        + (", and others in other bands" if group[0].others else "")
        for group in groups.values()
    )
