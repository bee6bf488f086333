// The page as a whole: views as tabs, one model at a time, and links from one view into another.

const report = JSON.parse(document.getElementById("data").textContent);
const tabs = [...document.querySelectorAll("nav.views a")];
const targets = [...document.querySelectorAll(".target")];
const graphs = new Map();
const costs = new Map();
// The width of a printed page, in CSS pixels.
const PAPER = 660;
const shown = { view: null, target: 0 };

function show(view, target = shown.target) {
  shown.view = view;
  shown.target = target;
  for (const tab of tabs) {
    const chosen = tab.dataset.view === view;
    tab.setAttribute("aria-selected", String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
  }
  targets.forEach((section, number) => { section.hidden = view === "findings" || number !== target; });
  for (const section of document.querySelectorAll(".view")) section.hidden = section.dataset.view !== view;
  document.documentElement.dataset.view = view;
  const picker = document.getElementById("picker");
  if (picker) picker.value = String(target);
  if (view === "graph") graphOf(target);
  if (view === "costs") costs.get(target)?.draw();
}

// A graph is drawn when it is first looked at.
function graphOf(target) {
  if (!graphs.has(target)) {
    const section = document.getElementById(`graph-${target}`);
    if (report.targets[target]) {
      const totals = document.querySelector(`#costs-${target} .totals`).cloneNode(true);
      graphs.set(target, new GraphView(section, report, target, totals));
    } else {
      section.append(html("p", { class: "calm" }, "The model never ran: there is no graph of it."));
      graphs.set(target, null);
    }
  }
  return graphs.get(target);
}

function flash(element) {
  element.classList.remove("flash");
  void element.offsetWidth; // so that the animation starts again
  element.classList.add("flash");
}

function showNode(target, way) {
  show("graph", target);
  graphOf(target).reveal(way);
}

// The first call of a layer; one that was never called has none.
function showPath(target, path) {
  show("graph", target);
  const graph = graphOf(target);
  const way = graph?.model.wayTo(path);
  if (way) graph.reveal(way);
}

function showLayer(target, path) {
  show("layers", target);
  const row = rowOf(target, path);
  if (!row) return;
  row.hidden = false;
  row.tabIndex = -1;
  row.scrollIntoView({ block: "center" });
  row.focus({ preventScroll: true });
  flash(row);
}

function showFinding(number) {
  show("findings");
  const article = document.getElementById(`finding-${number}`);
  article.tabIndex = -1;
  article.scrollIntoView({ block: "start" });
  article.focus({ preventScroll: true });
  flash(article);
}

function makeTabs() {
  const list = document.querySelector("nav.views");
  list.setAttribute("role", "tablist");
  for (const tab of tabs) {
    tab.setAttribute("role", "tab");
    tab.addEventListener("click", (event) => {
      event.preventDefault();
      show(tab.dataset.view);
    });
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = tabs[(tabs.indexOf(tab) + step + tabs.length) % tabs.length];
      show(next.dataset.view);
      next.focus();
    });
  }
  for (const section of document.querySelectorAll(".view")) section.setAttribute("role", "tabpanel");
}

function makePicker() {
  if (targets.length < 2) return;
  const picker = html("select", { id: "picker", "aria-label": "Model" },
    targets.map((section, number) => html("option", { value: number }, section.getAttribute("aria-label"))));
  picker.addEventListener("change", () => show(shown.view === "findings" ? "graph" : shown.view, Number(picker.value)));
  document.querySelector(".top nav").before(picker);
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-show], [data-layer], a[href^='#finding-']");
  if (!link) return;
  event.preventDefault();
  const target = Number(link.dataset.target ?? shown.target);
  if (link.dataset.show !== undefined) showNode(target, link.dataset.show);
  else if (link.dataset.layer !== undefined) showLayer(target, link.dataset.layer);
  else showFinding(Number(link.hash.slice("#finding-".length)));
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target.matches("input, select, textarea")) return;
  const field = document.querySelector(".view:not([hidden]) input[type=search]");
  if (!field) return;
  event.preventDefault();
  field.focus();
});

// On paper everything is shown, one after the other.
window.addEventListener("beforeprint", () => {
  for (const section of document.querySelectorAll(".target, .view")) section.hidden = false;
  report.targets.forEach((_, target) => {
    const graph = graphOf(target);
    graph?.camera.print(graph.layout);
    costs.get(target)?.draw(PAPER);
  });
});
window.addEventListener("afterprint", () => {
  for (const graph of graphs.values()) graph?.camera.afterPrint();
  show(shown.view);
});

document.documentElement.classList.add("scripted");
makeTabs();
makePicker();
targets.forEach((section, target) => {
  const table = section.querySelector("table.layers");
  if (table) enhanceTable(table, (path) => showPath(target, path));
});
report.targets.forEach((data, target) => {
  if (data) costs.set(target, new CostsView(document.getElementById(`costs-${target}`), data, target));
});
show(targets.length ? "graph" : "findings");
document.documentElement.dataset.ready = "true";
