// What a click on a node shows: where it is in the source, its shapes, its costs, its findings.

function sourceRow(report, place) {
  if (!place) return null;
  const [path, line] = place;
  const code = report.sources[path]?.[line];
  return [html("span", {}, `${path}:${line}`), code ? html("pre", { class: "code" }, code) : null];
}

// What stands in backticks as code.
function quoted(text) {
  const pieces = text.split("`");
  if (pieces.length % 2 === 0) return [text];
  return pieces.map((piece, index) => (index % 2 ? html("code", {}, piece) : piece));
}

function rows(pairs) {
  const list = html("dl", { class: "facts" });
  for (const [name, value] of pairs) {
    if (value === null || value === undefined || value === "" || value === 0) continue;
    list.append(html("div", {}, html("dt", {}, name), html("dd", {}, value)));
  }
  return list;
}

function findingLinks(report, numbers) {
  if (!numbers.length) return null;
  return html("ul", { class: "links" }, numbers.map((number) => {
    const { code, severity, message } = report.findings[number];
    return html("li", {}, html("a", { href: `#finding-${number}`, class: severity }, html("code", {}, code), " ", quoted(message)));
  }));
}

function nodeDetails(report, model, target, way, actions) {
  const node = model.nodeAt(way);
  const path = model.pathOf(way);
  const isLayer = node.kind === "layer";
  const numbers = findingsOf(report, target, way, isLayer ? path : null);
  const bytes = isLayer ? activationBytes(model.data.modules, path) : 0;
  const parts = [
    html("h3", {}, isLayer ? path : node.name),
    html("p", { class: "kind" }, isLayer ? node.type : node.type, isLayer || !path ? null : html("span", {}, ` in ${path}`)),
  ];
  if (node.trouble) {
    parts.push(html("div", { class: "failure", role: "note" }, html("b", {}, "This call failed"), node.trouble.map((line) => html("code", {}, line))));
  } else if (node.follows) {
    parts.push(html("p", { class: "remark" }, "It ran on what recovery put in the place of a missing result."));
  }
  parts.push(
    findingLinks(report, numbers),
    rows([
      ["Input", shapesText(node.inputs)],
      ["Output", shapesText(node.outputs)],
      ["Settings", node.settings],
      ["Called", sourceRow(report, node.place)],
      ["Built", sourceRow(report, node.built)],
      ["Parameters", node.parameters ? exact(node.parameters) : null],
      ["Tied", node.tied?.join(", ")],
      ["MACs (fvcore)", node.macs ? `${scaled(node.macs)} (${exact(node.macs)})` : null],
      ["Activations", bytes ? byteText(bytes) : null],
      ["Call", node.turns > 1 ? `${node.turn ?? 1} of ${node.turns}: the same layer, the same parameters` : null],
    ]),
    actions.length ? html("p", { class: "actions" }, actions.map(([name, act]) => html("button", { type: "button", onclick: act }, name))) : null,
  );
  return parts;
}

function findingsOf(report, target, way, path) {
  return report.findings.flatMap((finding, number) =>
    finding.ways[target] === way || (path && finding.module === path) ? [number] : []);
}

// The results of a module and of all below it.
function activationBytes(modules, path) {
  return modules.reduce((sum, [name, , , , bytes]) => (name === path || name.startsWith(`${path}.`) ? sum + bytes : sum), 0);
}

function modelDetails(report, model, target, totals) {
  const numbers = report.findings.flatMap((finding, number) => (finding.ways[target] !== null || finding.module !== null ? [number] : []));
  return [
    html("h3", {}, model.data.type),
    html("p", { class: "kind" }, "the whole model"),
    findingLinks(report, numbers),
    totals,
    html("p", { class: "hint" }, "Click a box for its details, + to open it. Arrow keys move, Enter opens, / searches."),
  ];
}
