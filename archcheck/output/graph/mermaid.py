"""The top level of a model as a small Mermaid graph, for a comment that draws such graphs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from archcheck.output.graph.bodies import GIVEN, RESULT, Body, Edge, Kind, Node
from archcheck.output.wording import one_line

# A larger graph is no longer small.
MOST_NODES = 40

# In a quoted text Mermaid reads entities, and a backtick begins Markdown.
_ACTIVE = re.compile(r"[^\w \-.,:()\[\]×→–…*=/?]")
_SIGNS: Mapping[Kind, str] = {"sum": "+", "product": "×", "concatenation": "concat"}
_STYLES = (
    "classDef failed fill:#fdecea,stroke:#c4281c,stroke-width:2px,color:#7a120b",
    "classDef follows stroke-dasharray:4 3,color:#8793a8",
)


def mermaid(root: Body) -> list[str]:
    """The lines of the graph, without a fence; none where it has too many nodes.

    Text of the model is quoted, so that Mermaid shows exactly it.
    """
    nodes, edges = root.folded()
    if not nodes or len(nodes) > MOST_NODES:
        return []
    lines = ["flowchart TD"]
    for number, name in enumerate(root.given):
        if any(edge.source == GIVEN - number for edge in edges):
            lines.append(f"  given{number}([{_quoted(name or 'input')}])")
    for step, count in nodes:
        lines.append(f"  node{step}{_node(root.nodes[step], count)}")
    if any(edge.target == RESULT for edge in edges):
        lines.append('  result(["output"])')
    lines += (_edge(edge) for edge in edges)
    marked = list(_classes(root, [step for step, _count in nodes]))
    return [*lines, *(f"  {line}" for line in (*_STYLES, *marked) if marked)]


def _node(node: Node, count: int) -> str:
    name = f"{node.name} and {count - 1} alike (×{count})" if count > 1 else node.name
    sign = _SIGNS.get(node.kind)
    if sign is not None:
        return f"(({_quoted(sign)}))"
    if node.kind == "operator":
        return f"([{_quoted(name, *node.trouble)}])"
    return f"[{_quoted(name, node.type, *node.trouble)}]"


def _edge(edge: Edge) -> str:
    source = f"given{GIVEN - edge.source}" if edge.source < 0 else f"node{edge.source}"
    target = "result" if edge.target == RESULT else f"node{edge.target}"
    shapes = dict.fromkeys("×".join(map(str, shape)) or "scalar" for shape in edge.shapes)
    return f"  {source} -->|{_quoted(', '.join(shapes))}| {target}"


def _classes(root: Body, steps: list[int]) -> Iterator[str]:
    failed = [step for step in steps if root.nodes[step].trouble or root.nodes[step].holds_failure]
    follows = [step for step in steps if root.nodes[step].follows]
    for name, members in (("failed", failed), ("follows", follows)):
        if members:
            yield f"class {','.join(f'node{step}' for step in members)} {name}"


def _quoted(*lines: str) -> str:
    """Lines of text in quotes, with an entity for each character that Mermaid could act on."""
    shown = (_ACTIVE.sub(lambda sign: f"#{ord(sign[0])};", one_line(line)) for line in lines)
    return f'"{"<br>".join(shown)}"'
