"""Feed every file below some folders to every source rule, and see that nothing crashes.

    python benchmarks/every_file.py [FOLDER…]      default: the installed site-packages

Python files, Markdown documents and notebooks are read, parsed with recovery, and asked by all
source rules. The table counts files, lines, problems of syntax, documents refused (too large, not
text) and crashes; each crash is printed with its file, and the exit code is 1 if there was one.
"""

from __future__ import annotations

import argparse
import sys
import sysconfig
import time
import traceback
from collections import Counter
from pathlib import Path

from archcheck.core.rule import load_rules
from archcheck.engine.suppress import Suppressions
from archcheck.python import Project, SourceFile
from archcheck.python.text.document import DocumentError

SUFFIXES = (".py", ".pyi", ".md", ".ipynb")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", nargs="*", default=[sysconfig.get_path("purelib")])
    parser.add_argument("--every", type=int, default=1, help="take every n-th file only")
    arguments = parser.parse_args()
    paths = [
        path
        for folder in arguments.folders
        for path in sorted(Path(folder).rglob("*"))
        if path.suffix in SUFFIXES and path.is_file()
    ][:: arguments.every]
    rules = [rule for rule in load_rules() if rule.source_readers]
    counts: Counter[str] = Counter()
    findings: Counter[str] = Counter()
    began = time.perf_counter()
    # A new project now and then: one that has read everything keeps it all in memory.
    for start in range(0, len(paths), 200):
        project = Project(Path())
        for path in paths[start : start + 200]:
            counts["files"] += 1
            try:
                file = project.file(path)
                counts["lines"] += len(file.document.lines)
                counts["problems of syntax"] += len(file.problems)
                Suppressions.of(file)
            except DocumentError:
                counts["refused"] += 1
            except Exception:
                crashed(counts, path, "reading")
            else:
                findings.update(asked(file, rules, counts, path))
    counts["seconds"] = round(time.perf_counter() - began)
    for name in ("files", "lines", "problems of syntax", "refused", "crashes", "seconds"):
        print(f"{name:20} {counts[name]:>12,}")
    print("\nfindings by rule, all severities")
    for code, count in sorted(findings.items()):
        print(f"{code:20} {count:>12,}")
    return 1 if counts["crashes"] else 0


def asked(file: SourceFile, rules: list, counts: Counter[str], path: Path) -> Counter[str]:
    """How often each rule finds something in a file."""
    found: Counter[str] = Counter()
    for rule in rules:
        for reader in rule.source_readers:
            try:
                found[rule.code] += sum(1 for _ in reader(file))
            except Exception:
                crashed(counts, path, rule.code)
    return +found


def crashed(counts: Counter[str], path: Path, stage: str) -> None:
    counts["crashes"] += 1
    print(f"{path}: {stage}\n{traceback.format_exc()}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
