// Where everything stands. Each open box is laid out by itself, from the innermost out, so that
// only what is opened costs time, and equal boxes in equal states are laid out once.

const RESULT = -1;
const GIVEN = -2;
const HEADER = 38;
const PADDING = 14;
const IDLE_GAP = 36;
const IDLE_ROW = 40;
const MOST_LABELS = 2;
// More lines than this, and more than so many for each node, are a thicket.
const MANY_LINES = 20;
const LINES_PER_NODE = 2.2;

class Layout {
  constructor(model, state) {
    this.model = model;
    this.state = state; // { open: Set of ways, unfolded: Set of ways of first nodes }
    this.known = new Map();
  }

  arrange() {
    return this.body(this.model.root, "", this.model.data.root);
  }

  // The key of a body in its state: what is open and unfolded in it.
  key(number, way) {
    const prefix = way ? `${way}.` : "";
    const below = (set) => [...set].filter((one) => one.startsWith(prefix)).map((one) => one.slice(prefix.length)).sort();
    return `${way ? number : "root"}|${below(this.state.open)}|${below(this.state.unfolded)}`;
  }

  body(body, way, number) {
    const key = this.key(number, way);
    if (!this.known.has(key)) this.known.set(key, this.laidOut(body, way));
    return this.known.get(key);
  }

  laidOut(body, way) {
    const graph = new dagre.graphlib.Graph({ multigraph: false });
    graph.setGraph({ rankdir: "TB", nodesep: 26, ranksep: 16, edgesep: 16, marginx: 0, marginy: 0 });
    const { stands, folded } = this.foldings(body, way);
    const items = [];
    body.nodes.forEach((node, step) => {
      if (stands[step] !== step) return;
      const item = this.item(node, wayBelow(way, step), step, folded.get(step) ?? 1);
      items.push(item);
      graph.setNode(String(step), { width: item.width, height: item.height });
    });
    const edges = this.edges(body, stands);
    const ports = this.ports(body, edges, way);
    for (const port of ports) graph.setNode(String(port.end), { width: port.width, height: port.height });
    const { routed, arcs } = sortedOut(edges, items.length);
    for (const edge of routed) {
      const label = this.label(edge);
      graph.setEdge(String(edge.source), String(edge.target), {
        label,
        width: label ? textWidth(label, "mono") : 0,
        height: label ? 13 : 0,
        // Beside the line, which stays whole.
        labelpos: "r",
        labeloffset: 6,
        // What follows directly stays in line; a skip goes around it.
        weight: edge.target === edge.source + 1 ? 4 : 1,
      });
    }
    dagre.layout(graph);
    for (const item of items) place(item, graph.node(String(item.step)));
    for (const port of ports) place(port, graph.node(String(port.end)));
    const ranks = rankHeights(graph);
    const lines = routed.map((edge) => {
      const { points, label, x, y } = graph.edge(String(edge.source), String(edge.target));
      return { ...edge, points: besideRanks(points, ranks), label, x, y };
    });
    let { width = 0, height = 0 } = graph.graph();
    if (!Number.isFinite(width)) [width, height] = [0, 0];
    for (const edge of arcs) {
      const arc = arcBetween(graph.node(String(edge.source)), graph.node(String(edge.target)));
      lines.push({ ...edge, arc });
      width = Math.max(width, arc.right);
    }
    const idle = body.idle.map((one, row) => ({
      ...one,
      x: width + (width ? IDLE_GAP : 0),
      y: 22 + row * (IDLE_ROW + 8),
      width: Math.max(textWidth(one.name, "name"), textWidth(one.type, "small")) + 28,
      height: IDLE_ROW,
    }));
    if (idle.length) {
      width = Math.max(...idle.map((one) => one.x + one.width));
      height = Math.max(height, idle.at(-1).y + IDLE_ROW);
    }
    return { items, ports, lines, idle, width, height };
  }

  // For each node the one that stands for it, and how many each folded one stands for.
  foldings(body, way) {
    const stands = body.nodes.map((_, step) => step);
    const folded = new Map();
    for (const [first, count] of body.folds) {
      if (this.state.unfolded.has(wayBelow(way, first))) continue;
      for (let step = first; step < first + count; step += 1) stands[step] = first;
      folded.set(first, count);
    }
    return { stands, folded };
  }

  edges(body, stands) {
    const found = new Map();
    for (const [source, target, shapes, guessed] of body.edges) {
      const from = source < 0 ? source : stands[source];
      const to = target < 0 ? target : stands[target];
      if (from === to) continue;
      const key = `${from} ${to}`;
      if (!found.has(key)) found.set(key, { source: from, target: to, shapes: [...shapes], guessed });
    }
    return [...found.values()];
  }

  ports(body, edges, way) {
    const ends = new Set(edges.flatMap((edge) => [edge.source, edge.target]).filter((end) => end < 0));
    return [...ends].map((end) => {
      const name = end === RESULT ? (way ? "" : "output") : body.given[GIVEN - end];
      const plain = end === RESULT && way;
      return { end, name, plain, width: plain ? 8 : textWidth(name || "·", "mono") + 18, height: plain ? 8 : 20 };
    });
  }

  label(edge) {
    const distinct = [...new Set(edge.shapes.map(shapeText))];
    const shown = distinct.slice(0, MOST_LABELS).join(", ");
    return distinct.length > MOST_LABELS ? `${shown}, …` : shown;
  }

  // Only the state of a box hangs on its way: the layout itself serves all equal bodies.
  item(node, way, step, count) {
    const body = this.model.bodyOf(node);
    const item = { node, step, count, name: foldedName(node, count), chips: chips(node, count), isOpen: body !== null && this.state.open.has(way) };
    const chipsWidth = item.chips.reduce((sum, chip) => sum + chip.width + 5, 0);
    if (node.kind === "sum" || node.kind === "product") {
      return { ...item, join: node.kind === "product" ? "×" : node.name === "sub" || node.name === "rsub" ? "−" : "+", width: 26, height: 26 };
    }
    const trouble = node.trouble ?? [];
    const troubleWidth = Math.max(0, ...trouble.map((line) => textWidth(line, "mono") + 24));
    if (node.kind !== "layer") {
      const width = Math.max(textWidth(node.name, "small") + 24 + chipsWidth, troubleWidth);
      return { ...item, width, height: 26 + trouble.length * 16 + (trouble.length ? 6 : 0) };
    }
    item.caption = [node.type, node.settings].filter(Boolean).join("  ");
    const toggle = body === null ? 0 : 20;
    const title = textWidth(item.name, "name") + toggle + chipsWidth;
    const width = Math.max(title, textWidth(item.caption, "small"), troubleWidth - 6) + 30;
    if (!item.isOpen) {
      return { ...item, toggle, width, height: 46 + trouble.length * 16 + (trouble.length ? 6 : 0) };
    }
    const inside = this.body(body, way, node.body);
    return {
      ...item,
      toggle,
      inside,
      caption: node.type,
      width: Math.max(inside.width + 2 * PADDING, title + textWidth(node.type, "small") + 42),
      height: inside.height + HEADER + PADDING,
    };
  }
}

// Where nearly everything reads nearly everything, as in a dense block, lines for all would be a
// thicket as wide as it is slow to lay out: the nearest source is joined by a line, and what skips
// goes over an arc at the side.
function sortedOut(edges, nodes) {
  if (edges.length <= Math.max(MANY_LINES, LINES_PER_NODE * nodes)) return { routed: edges, arcs: [] };
  const nearest = new Map();
  const last = new Map();
  for (const edge of edges) {
    if (edge.target === RESULT) last.set(edge.source, edge);
    else if (!nearest.has(edge.target) || edge.source > nearest.get(edge.target).source) nearest.set(edge.target, edge);
  }
  const routed = new Set(nearest.values());
  // What goes out is joined by a line from the last node that gives it.
  const ends = [...last.keys()];
  if (ends.length) routed.add(last.get(Math.max(...ends)));
  return { routed: [...routed], arcs: edges.filter((edge) => !routed.has(edge)) };
}

function arcBetween(source, target) {
  const [from, to] = [source, target].map((node) => ({ x: node.x + node.width / 2, y: node.y }));
  const reach = Math.max(from.x, to.x) + 30 + Math.min(Math.abs(to.y - from.y) * 0.2, 260);
  // A cubic curve comes three quarters of the way towards its handles.
  return { from, to, reach, right: 0.25 * Math.max(from.x, to.x) + 0.75 * reach + 4 };
}

// The tallest box of each rank, by the height at which dagre puts the rank's middle.
function rankHeights(graph) {
  const heights = new Map();
  for (const name of graph.nodes()) {
    const { y, height } = graph.node(name);
    heights.set(Math.round(y), Math.max(heights.get(Math.round(y)) ?? 0, height));
  }
  return heights;
}

// dagre bends a line at the middle of each rank that it passes: beside a tall box it would cut the
// corners off. So it goes straight down along the whole rank.
function besideRanks(points, heights) {
  return points.flatMap((point, index) => {
    const half = (heights.get(Math.round(point.y)) ?? 0) / 2;
    if (!half || index === 0 || index === points.length - 1) return [point];
    return [{ x: point.x, y: point.y - half }, { x: point.x, y: point.y + half }];
  });
}

// dagre speaks of centres; we draw from the top left corner.
function place(item, { x, y }) {
  item.x = x - item.width / 2;
  item.y = y - item.height / 2;
}

// `3–37` for 35 layers from `3` on.
function foldedName(node, count) {
  const [, before, number] = /^(.*?)(\d+)$/.exec(node.name) ?? [];
  return count > 1 ? `${before}${number}–${Number(number) + count - 1}` : node.name;
}

function chips(node, count) {
  const found = [];
  const add = (text, kind) => found.push({ text, kind, width: textWidth(text, "small") + 12 });
  if (count > 1) add(`×${count}`, "count");
  if (node.turns > 1) add(`call ${node.turn ?? 1} of ${node.turns}`, "shared");
  if (node.tied) add("tied", "shared");
  for (const code of node.codes ?? []) add(code, "code");
  return found;
}
