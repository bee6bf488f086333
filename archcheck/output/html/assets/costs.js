// The costs of one target: an icicle of the module tree, and what flows through the model.

const MEASURES = [
  ["parameters", "Parameters", 2, exact],
  ["macs", "MACs", 3, scaled],
  ["bytes", "Activation bytes", 4, byteText],
];
const ROW = 30;
const THINNEST = 1.5; // pixels: what is thinner is left out
const LANE = 88;

class CostsView {
  constructor(section, data, target) {
    this.data = data;
    this.tree = moduleTree(data.modules);
    this.measure = MEASURES[0];
    this.focus = { node: this.tree, times: 1 };
    this.chart = html("div", { class: "icicle" });
    this.trail = html("p", { class: "trail", "aria-live": "polite" });
    this.strip = html("figure", { class: "strip" });
    const switches = html("fieldset", { class: "switch" }, html("legend", {}, "Area"),
      MEASURES.map((measure, index) => html("label", {},
        html("input", { type: "radio", name: `measure-${target}`, value: measure[0], checked: index === 0, onchange: () => this.show(measure) }),
        html("span", {}, measure[1]))));
    section.append(
      html("h3", {}, "Where the costs are"), switches, this.trail, this.chart,
      html("h3", {}, "Along the depth of the model"), this.strip);
    new ResizeObserver(() => this.draw()).observe(section);
  }

  show(measure) {
    this.measure = measure;
    this.draw();
  }

  // Nothing is drawn where the view is hidden and has no width.
  draw(width = this.chart.clientWidth) {
    if (!width) return;
    this.drawIcicle(width);
    this.drawStrip(width);
  }

  // The icicle ---------------------------------------------------------------------------------

  drawIcicle(width) {
    const [, name, column] = this.measure;
    const cells = [];
    const lay = (node, times, x, space, row) => {
      if (space < THINNEST) return;
      cells.push({ node, times, x, space, row });
      const whole = sum(node, column);
      let at = x;
      for (const { first, count } of node.groups) {
        const share = whole ? ((count * sum(first, column)) / whole) * space : 0;
        lay(first, count, at, share, row + 1);
        at += share;
      }
    };
    lay(this.focus.node, this.focus.times, 0, width, 0);
    const depth = Math.max(...cells.map(({ row }) => row)) + 1;
    const drawn = svg("svg", { width, height: depth * ROW, role: "group", "aria-label": `Modules by ${name}` });
    for (const cell of cells) drawn.append(this.cell(cell));
    this.chart.replaceChildren(drawn);
    this.describe(this.focus);
  }

  // What a cell stands for, in words: alike neighbours are one cell.
  words({ node, times }) {
    const [, , column, words] = this.measure;
    const value = repeats(node) * times * sum(node, column);
    const total = sum(this.tree, column);
    return {
      path: times > 1 ? `${node.path}–${Number(/\d+$/.exec(node.path)[0]) + times - 1} (×${times})` : node.path || node.type,
      value: words(value),
      share: total && node.path ? `${((100 * value) / total).toFixed(1)} % of the model` : "",
    };
  }

  cell({ node, times, x, space, row }) {
    const said = this.words({ node, times });
    const look = () => this.describe({ node, times });
    const group = svg("g", {
      class: `cell ${purpose({ kind: "layer", type: node.type })}${node.groups.length ? " holds" : ""}`,
      transform: `translate(${x},${row * ROW})`, role: "button", tabindex: space > 24 ? 0 : -1,
      "aria-label": `${said.path}: ${said.value} ${said.share}`,
      onclick: () => this.focusOn({ node, times }),
      onkeydown: (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        this.focusOn({ node, times });
      },
      onpointerenter: look,
      onfocus: look,
    }, svg("title", {}, `${said.path}: ${said.value}`), svg("rect", { width: Math.max(space - 1, 0.5), height: ROW - 1, rx: Math.min(3, space / 4) }));
    if (space > 22) {
      const label = times > 1 ? said.path.slice(parentOf(node.path).length).replace(/^\./, "") : node.name || node.type;
      const shown = cropped(label, "small", space - 12);
      group.append(svg("text", { x: 6, y: 19 }, shown));
      if (shown === label && space - 24 - textWidth(shown, "small") > textWidth(said.value, "small")) {
        group.append(svg("text", { class: "value", x: space - 7, y: 19 }, said.value));
      }
    }
    return group;
  }

  describe(cell) {
    const { path, value, share } = this.words(cell);
    const parts = [html("b", {}, path), ` ${cell.node.path ? cell.node.type : ""} `, html("span", { class: "figure" }, value), ` ${share}`];
    if (this.focus.node.path) parts.push(" ", html("button", { type: "button", onclick: () => this.focusOn({ node: this.tree, times: 1 }) }, "Whole model"));
    this.trail.replaceChildren(...parts);
  }

  // A click enlarges a cell, and a second one goes back to what holds it.
  focusOn(cell) {
    const again = cell.node === this.focus.node && cell.node.parent;
    this.focus = again ? { node: cell.node.parent, times: 1 } : cell;
    this.draw();
  }

  // The strip ----------------------------------------------------------------------------------

  drawStrip(width) {
    const steps = this.data.steps;
    if (!steps.length) return;
    const lanes = [
      ["Channels", steps.map(([, , channels]) => channels), exact, "area"],
      ["Spatial size", steps.map(([, , , spatial]) => (spatial.length ? spatial.reduce((a, b) => a * b, 1) : null)), null, "area"],
      ["Activation bytes", steps.map(([, , , , bytes]) => bytes), byteText, "bars"],
    ];
    const peak = steps.reduce((best, step, index) => (step[4] > steps[best][4] ? index : best), 0);
    const drawn = svg("svg", { width, height: lanes.length * LANE + 18, role: "img", "aria-label": this.spokenStrip(peak) });
    const at = (index) => (index * width) / steps.length;
    lanes.forEach(([name, values, words, kind], row) => {
      drawn.append(this.lane(name, values, words, kind, row * LANE, at, peak));
    });
    drawn.append(this.axis(lanes.length * LANE + 10, at));
    const cursor = svg("line", { class: "cursor", y1: 0, y2: lanes.length * LANE, visibility: "hidden" });
    drawn.append(cursor);
    const caption = html("figcaption", { "aria-live": "off" }, this.stepText(peak, "Most memory: "));
    drawn.addEventListener("pointermove", (event) => {
      const index = Math.min(steps.length - 1, Math.max(0, Math.floor((event.offsetX / width) * steps.length)));
      cursor.setAttribute("x1", at(index + 0.5));
      cursor.setAttribute("x2", at(index + 0.5));
      cursor.setAttribute("visibility", "visible");
      caption.textContent = this.stepText(index);
    });
    drawn.addEventListener("pointerleave", () => {
      cursor.setAttribute("visibility", "hidden");
      caption.textContent = this.stepText(peak, "Most memory: ");
    });
    this.strip.replaceChildren(drawn, caption);
  }

  lane(name, values, words, kind, top, at, peak) {
    const known = values.filter((value) => value !== null);
    const most = Math.max(1, ...known);
    const floor = top + LANE - 8;
    // Sizes and widths change by factors: their logarithm shows each step alike.
    const height = (value) => (kind === "bars" ? value / most : Math.log(value + 1) / Math.log(most + 1)) * (LANE - 32);
    const group = svg("g", { class: `lane ${kind}` },
      svg("text", { x: 0, y: top + 12 }, name),
      svg("line", { class: "floor", x1: 0, x2: at(values.length), y1: floor, y2: floor }));
    if (kind === "bars") {
      const rest = [];
      values.forEach((value, index) => {
        if (index !== peak) rest.push(`M${at(index)},${floor}V${floor - height(value)}H${at(index + 1)}V${floor}Z`);
      });
      group.append(svg("path", { d: rest.join("") }),
        svg("path", { class: "peak", d: `M${at(peak)},${floor}V${floor - height(values[peak])}H${Math.max(at(peak + 1), at(peak) + 3)}V${floor}Z` }));
      group.append(svg("text", { class: "most", x: at(values.length), y: top + 12 }, `at most ${words(most)}`));
      return group;
    }
    let path = "";
    values.forEach((value, index) => {
      const y = value === null ? floor : floor - height(value);
      path += `${index ? "V" : `M0,${floor}V`}${y}H${at(index + 1)}`;
    });
    group.append(svg("path", { d: `${path}V${floor}Z` }));
    const [first, last] = [known[0], known.at(-1)];
    const said = words ? `${words(first ?? 0)} → ${words(last ?? 0)}, at most ${words(most)}` : this.resolutions();
    group.append(svg("text", { class: "most", x: at(values.length), y: top + 12 }, said));
    return group;
  }

  // Where each part of the model begins, as far as there is room for the names.
  axis(y, at) {
    const group = svg("g", { class: "axis" });
    let [before, end] = [null, -1];
    this.data.steps.forEach(([module], index) => {
      const path = this.data.modules[module][0];
      const part = path.split(".").slice(0, 2).filter((name, place) => !place || /^\d+$/.test(name)).join(".");
      if (!part || part === before) return;
      before = part;
      const width = textWidth(part, "small");
      if (at(index) < end || at(index) + width > at(this.data.steps.length)) return;
      group.append(
        svg("line", { x1: at(index), x2: at(index), y1: y - 18, y2: y - 13 }),
        svg("text", { x: at(index), y }, part));
      end = at(index) + width + 10;
    });
    return group;
  }

  resolutions() {
    const sizes = this.data.steps.map(([, , , spatial]) => spatial).filter((spatial) => spatial.length).map(shapeText);
    return sizes.length ? `${sizes[0]} → ${sizes.at(-1)}` : "none";
  }

  stepText(index, before = "") {
    const [module, operators, channels, spatial, bytes] = this.data.steps[index];
    const [path, type] = this.data.modules[module];
    const sizes = [channels === null ? null : `${exact(channels)} channels`, spatial.length ? shapeText(spatial) : null, byteText(bytes)];
    return `${before}${path || type} (${operators.split(" ").slice(0, 3).join(", ")}): ${sizes.filter(Boolean).join(", ")}`;
  }

  spokenStrip(peak) {
    return `Channels, spatial size ${this.resolutions()} and activation bytes along the model. ${this.stepText(peak, "Most memory: ")}`;
  }
}

function moduleTree(modules) {
  const nodes = new Map();
  for (const [path, type, ...own] of modules) {
    const node = { path, type, name: path.slice(path.lastIndexOf(".") + 1), children: [], parent: null, own, sums: new Map() };
    nodes.set(path, node);
    if (!path) continue;
    let holder = parentOf(path);
    while (holder && !nodes.has(holder)) holder = parentOf(holder);
    node.parent = nodes.get(holder);
    node.parent.children.push(node);
  }
  // A number for each kind of subtree: equal ones cost the same in every part.
  const kinds = new Map();
  for (const node of [...nodes.values()].reverse()) {
    node.groups = alike(node.children);
    const kind = JSON.stringify([node.type, node.own, node.groups.map(({ first, count }) => [first.name, first.kind, count])]);
    if (!kinds.has(kind)) kinds.set(kind, kinds.size);
    node.kind = kinds.get(kind);
  }
  return nodes.get("");
}

// Numbered neighbours that cost the same in every part, as one.
function alike(children) {
  const groups = [];
  for (const child of children) {
    const last = groups.at(-1);
    const follows = last && /^\d+$/.test(child.name) && Number(child.name) === Number(last.first.name) + last.count;
    if (follows && last.first.kind === child.kind) last.count += 1;
    else groups.push({ first: child, count: 1 });
  }
  for (const { first, count } of groups) first.count = count;
  return groups;
}

// How many modules a node below folded ones stands for, itself taken once.
function repeats(node) {
  let times = 1;
  for (let holder = node.parent; holder; holder = holder.parent) times *= holder.count ?? 1;
  return times;
}

function sum(node, column) {
  if (!node.sums.has(column)) {
    node.sums.set(column, node.own[column - 2] + node.children.reduce((total, child) => total + sum(child, column), 0));
  }
  return node.sums.get(column);
}
