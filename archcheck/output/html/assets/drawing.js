// A layout as SVG. Boxes are items of a tree, in the order in which they ran: that is the order of
// the keyboard and of a screen reader.

function drawBody(layout, way, level, context) {
  const parts = [];
  for (const line of layout.lines) parts.push(drawLine(line));
  for (const port of layout.ports) parts.push(drawPort(port));
  for (const item of layout.items) parts.push(drawItem(item, wayBelow(way, item.step), level, context));
  if (layout.idle.length) {
    const [first] = layout.idle;
    parts.push(svg("text", { class: "idle-title", x: first.x, y: first.y - 9 }, context.complete ? "never called" : "not reached"));
    for (const one of layout.idle) parts.push(drawIdle(one, context.pathOf(way)));
  }
  return parts;
}

// A line through points, its corners rounded off at their middles.
function smooth(points) {
  const [first, ...rest] = points;
  if (rest.length < 2) return `M${points.map(({ x, y }) => `${x},${y}`).join("L")}`;
  let path = `M${first.x},${first.y}`;
  for (let index = 0; index < rest.length - 1; index += 1) {
    const [corner, next] = [rest[index], rest[index + 1]];
    const end = index === rest.length - 2 ? next : { x: (corner.x + next.x) / 2, y: (corner.y + next.y) / 2 };
    path += `Q${corner.x},${corner.y} ${end.x},${end.y}`;
  }
  return path;
}

function drawLine({ points, arc, label, x, y, guessed }) {
  const group = svg("g", { class: `line${guessed ? " guessed" : ""}${arc ? " arc" : ""}`, "aria-hidden": "true" });
  const path = arc ? `M${arc.from.x},${arc.from.y}C${arc.reach},${arc.from.y} ${arc.reach},${arc.to.y} ${arc.to.x},${arc.to.y}` : smooth(points);
  group.append(svg("path", { d: path, "marker-end": "url(#arrow)" }));
  if (label) group.append(svg("text", { x: x - textWidth(label, "mono") / 2, y: y + 3.5 }, label));
  return group;
}

function drawPort({ x, y, width, height, name, plain }) {
  if (plain) return svg("circle", { class: "port", cx: x + 4, cy: y + 4, r: 3.5 });
  return svg("g", { class: "port", transform: `translate(${x},${y})` },
    svg("rect", { width, height, rx: height / 2 }),
    svg("text", { x: width / 2, y: 13.5 }, name || "·"));
}

// A layer that has no node to select leads to its row in the table.
function drawIdle({ x, y, width, height, name, type }, holder) {
  const path = holder ? `${holder}.${name}` : name;
  return svg("g", { class: "idle", transform: `translate(${x},${y})`, "data-layer": path, role: "link", "aria-label": `${path}, ${type}, in the layer table` },
    svg("rect", { width, height, rx: 7 }),
    svg("text", { class: "name", x: 14, y: 17 }, name),
    svg("text", { class: "caption", x: 14, y: 31 }, type));
}

function drawItem(item, way, level, context) {
  const { node, x, y, width, height } = item;
  const openable = node.body !== undefined;
  const classes = ["node", node.kind, purpose(node)];
  if (node.trouble) classes.push("failed");
  if (node.holds_failure) classes.push("holds-failure");
  if (node.follows) classes.push("follows");
  if (item.isOpen) classes.push("open");
  if (item.count > 1) classes.push("folded");
  const group = svg("g", {
    class: classes.join(" "),
    transform: `translate(${x},${y})`,
    role: "treeitem",
    tabindex: -1,
    "data-way": way,
    "aria-level": level,
    "aria-expanded": openable ? String(item.isOpen) : null,
    "aria-label": spoken(item),
  });
  if (item.join) group.append(...drawJoin(item));
  else if (node.kind !== "layer") group.append(...drawOperator(item));
  else if (item.isOpen) group.append(...drawOpen(item, way, level, context));
  else group.append(...drawClosed(item));
  return group;
}

function drawJoin({ join, width }) {
  const middle = width / 2;
  return [
    svg("circle", { class: "shell", cx: middle, cy: middle, r: middle - 1 }),
    svg("text", { class: "sign", x: middle, y: middle + 5.5 }, join),
  ];
}

function drawOperator({ node, width, height, chips: marks }) {
  return [
    svg("rect", { class: "shell", width, height, rx: 13 }),
    svg("text", { class: "operator-name", x: 12, y: 17 }, node.name),
    ...drawChips(marks, width - 7, 5),
    ...drawTrouble(node, 12, 37),
  ];
}

function drawClosed(item) {
  const { node, name, width, height, caption, toggle, count, chips: marks } = item;
  const parts = [];
  if (count > 1) {
    // The edges of the ones behind it.
    for (const offset of [6, 3]) parts.push(svg("rect", { class: "behind", x: offset, y: offset, width, height, rx: 8 }));
  }
  parts.push(
    svg("rect", { class: "shell", width, height, rx: 8 }),
    svg("path", { class: "stripe", d: `M8,0H5V${height}H8A8,8 0 0 1 0,${height - 8}V8A8,8 0 0 1 8,0Z` }),
    svg("text", { class: "name", x: 15 + toggle, y: 20 }, name),
    svg("text", { class: "caption", x: 15, y: 36 }, caption),
    ...drawChips(marks, width - 9, 8),
    ...drawTrouble(node, 15, 55),
  );
  if (toggle) parts.push(drawToggle(false, 12, 6));
  return parts;
}

function drawOpen(item, way, level, context) {
  const { name, width, height, inside, caption, toggle, chips: marks } = item;
  const title = svg("text", { class: "name", x: 15 + toggle, y: 22 }, name);
  title.append(svg("tspan", { class: "caption", dx: 8 }, caption));
  return [
    svg("rect", { class: "shell", width, height, rx: 10 }),
    title,
    ...drawChips(marks, width - 10, 10),
    drawToggle(true, 12, 8),
    svg("g", { role: "group", transform: `translate(${(width - inside.width) / 2},${HEADER})` },
      drawBody(inside, way, level + 1, context)),
  ];
}

function drawToggle(isOpen, x, y) {
  return svg("g", { class: "toggle", transform: `translate(${x},${y})`, "data-toggle": "" },
    svg("rect", { width: 18, height: 18, rx: 5 }),
    svg("path", { d: isOpen ? "M5,9H13" : "M5,9H13M9,5V13" }));
}

function drawChips(marks, right, y) {
  let x = right;
  return [...marks].reverse().map(({ text, kind, width }) => {
    x -= width + 5;
    return svg("g", { class: `chip ${kind}`, transform: `translate(${x + 5},${y})` },
      svg("rect", { width, height: 16, rx: 8 }),
      svg("text", { x: width / 2, y: 12 }, text));
  });
}

function drawTrouble(node, x, y) {
  return (node.trouble ?? []).map((line, row) => svg("text", { class: "trouble", x, y: y + row * 16 }, line));
}

function spoken({ node, name, count }) {
  const kinds = { sum: "sum", product: "product", concatenation: "concatenation", operator: "operator", layer: node.type };
  const words = [`${name}, ${kinds[node.kind]}`];
  if (count > 1) words.push(`${count} alike`);
  if (node.trouble) words.push(`failed: ${node.trouble.join(", ")}`);
  if (node.outputs.length) words.push(`gives ${node.outputs.map((shape) => shape.join(" by ")).join(" and ")}`);
  for (const code of node.codes ?? []) words.push(`finding ${code}`);
  return words.join(", ");
}
