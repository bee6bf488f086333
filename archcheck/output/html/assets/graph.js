// The graph of one target: what is open, what is selected, and how one gets about in it.

const READABLE = 0.75;
const OPENING_BUDGET = 250; // milliseconds

class GraphView {
  constructor(section, report, target, totals) {
    this.report = report;
    this.target = target;
    this.model = new Model(report.targets[target]);
    this.totals = totals;
    this.state = { open: new Set(), unfolded: new Set() };
    this.layouts = new Layout(this.model, this.state);
    this.selected = null;
    this.build(section);
    this.camera = new Camera(this.canvas, this.world);
    this.open();
  }

  build(section) {
    this.world = svg("g", {});
    this.canvas = svg("svg", { class: "canvas", role: "tree", "aria-label": `Graph of ${this.model.data.name}` },
      svg("defs", {}, svg("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" },
        svg("path", { d: "M0.5,1L7,4L0.5,7Z" }))),
      this.world);
    this.panel = html("aside", { class: "details", "aria-live": "polite", "aria-label": "Details" });
    const button = (name, label, act) => html("button", { type: "button", title: label, "aria-label": label, onclick: act }, name);
    const tools = html("div", { class: "tools", role: "toolbar", "aria-label": "Zoom" },
      button("+", "Zoom in", () => this.camera.zoomBy(1.3)),
      button("−", "Zoom out", () => this.camera.zoomBy(1 / 1.3)),
      button("Fit", "Show all", () => this.camera.fit(this.layout)),
      button("Open all", "Open all boxes", () => this.openAll()),
      button("Close all", "Close all boxes", () => this.closeAll()));
    this.stage = html("div", { class: "stage" }, this.canvas, new Search(this.model, this.target, (way) => this.reveal(way)).box, tools, this.legend());
    section.append(this.stage, this.panel);
    this.canvas.addEventListener("click", (event) => this.click(event));
    this.canvas.addEventListener("dblclick", (event) => this.toggle(this.wayOf(event)));
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.canvas.addEventListener("focusin", (event) => {
      const way = this.wayOf(event);
      if (way !== null && way !== this.selected && event.target.matches(":focus-visible")) this.select(way);
    });
  }

  legend() {
    const nodes = this.model.data.bodies.flatMap((body) => body.nodes);
    const entries = [["join", "+", "paths meet"]];
    if (nodes.some((node) => node.trouble)) entries.push(["failed", "", "failed"], ["follows", "", "after a failure"]);
    if (this.model.data.bodies.some((body) => body.folds.length)) entries.push(["many", "×n", "alike"]);
    return html("p", { class: "legend", "aria-hidden": "true" },
      entries.map(([kind, sign, name]) => html("span", { class: kind }, html("i", {}, sign), name)));
  }

  // Drawing ------------------------------------------------------------------------------------

  draw() {
    this.layout = this.layouts.arrange();
    this.world.replaceChildren(...drawBody(this.layout, "", 1, {
      complete: this.model.data.complete,
      pathOf: (way) => this.model.pathOf(way),
    }));
    const focusable = this.element(this.selected) ?? this.world.querySelector("[data-way]");
    focusable?.setAttribute("tabindex", 0);
    this.element(this.selected)?.setAttribute("aria-selected", "true");
  }

  element(way) {
    return way === null ? null : this.world.querySelector(`[data-way="${way}"]`);
  }

  // The box of a node in the layout's coordinates; of an open one its head.
  box(way) {
    let layout = this.layout;
    let [x, y] = [0, 0];
    let item = null;
    for (const step of way.split(".").map(Number)) {
      if (item) {
        if (!item.inside) return null;
        x += (item.width - item.inside.width) / 2;
        y += HEADER;
        layout = item.inside;
      }
      item = layout.items.find((one) => one.step <= step && step < one.step + one.count);
      if (!item) return null;
      x += item.x;
      y += item.y;
    }
    return { x, y, width: item.width, height: item.isOpen ? Math.min(item.height, HEADER) : item.height };
  }

  // What is open -------------------------------------------------------------------------------

  // At first: what leads to a failure, and as many levels as the screen can show.
  open() {
    const failure = this.model.data.failure;
    if (failure) this.openWay(failure);
    this.layout = this.layouts.arrange();
    const start = performance.now();
    let level = this.boxes(this.layout);
    while (level.length && performance.now() - start < OPENING_BUDGET) {
      // What costs most is most worth seeing.
      const costs = (way) => this.model.nodeAt(way).macs ?? 0;
      const kept = [...level].sort((a, b) => costs(b) - costs(a)).filter((way) => this.opensWithin(way, start));
      this.layout = this.layouts.arrange();
      level = kept.flatMap((way) => this.boxesIn(way));
    }
    this.draw();
    this.camera.fit(this.layout, READABLE);
    if (failure) {
      this.select(failure);
      if (this.camera.fitting(this.layout) < READABLE) this.camera.show(this.box(failure), true, this.layout);
    } else {
      this.select(null);
    }
  }

  opensWithin(way, start) {
    if (this.state.open.has(way)) return true;
    if (performance.now() - start > OPENING_BUDGET) return false;
    this.state.open.add(way);
    if (this.camera.fitting(this.layouts.arrange()) >= READABLE) return true;
    this.state.open.delete(way);
    return false;
  }

  boxes(layout) {
    return layout.items.filter((item) => item.node.body !== undefined).map((item) => String(item.step));
  }

  boxesIn(way) {
    return this.model.bodyOf(this.model.nodeAt(way)).nodes.flatMap((node, step) => (node.body === undefined ? [] : [wayBelow(way, step)]));
  }

  openWay(way) {
    const steps = way.split(".");
    for (let length = 1; length <= steps.length; length += 1) {
      const here = steps.slice(0, length).join(".");
      if (length < steps.length) this.state.open.add(here);
      this.unfoldAt(here);
    }
  }

  // Show a node that another one stands for.
  unfoldAt(way) {
    const holder = parentOf(way);
    const body = holder ? this.model.bodyOf(this.model.nodeAt(holder)) : this.model.root;
    const step = Number(way.slice(holder ? holder.length + 1 : 0));
    const fold = body.folds.find(([first, count]) => first < step && step < first + count);
    if (fold) this.state.unfolded.add(wayBelow(holder, fold[0]));
  }

  foldOf(way) {
    const holder = parentOf(way);
    const body = holder ? this.model.bodyOf(this.model.nodeAt(holder)) : this.model.root;
    const step = Number(way.slice(holder ? holder.length + 1 : 0));
    const fold = body.folds.find(([first, count]) => first <= step && step < first + count);
    return fold ? { first: wayBelow(holder, fold[0]), count: fold[1] } : null;
  }

  toggle(way) {
    if (way === null || this.model.nodeAt(way)?.body === undefined) return;
    const { open } = this.state;
    if (open.has(way)) open.delete(way);
    else open.add(way);
    this.redraw(way);
  }

  // Draw again, with a node where it was on the screen.
  redraw(way) {
    const before = this.box(way);
    this.draw();
    const after = this.box(way);
    if (before && after) this.camera.panBy((before.x - after.x) * this.camera.view.zoom, (before.y - after.y) * this.camera.view.zoom);
    this.select(way);
  }

  openAll() {
    this.model.walk((node, way) => {
      if (node.body !== undefined) this.state.open.add(way);
      return false;
    });
    this.draw();
    this.camera.fit(this.layout);
  }

  closeAll() {
    this.state.open.clear();
    this.state.unfolded.clear();
    this.draw();
    this.camera.fit(this.layout, READABLE);
    this.select(null);
  }

  setFolded(way, folded) {
    if (folded) this.state.unfolded.delete(way);
    else this.state.unfolded.add(way);
    this.redraw(way);
  }

  // What is selected ---------------------------------------------------------------------------

  select(way) {
    const before = this.element(this.selected);
    before?.removeAttribute("aria-selected");
    before?.setAttribute("tabindex", -1);
    this.selected = way;
    if (way === null) {
      this.panel.replaceChildren(...modelDetails(this.report, this.model, this.target, this.totals).filter(Boolean));
      return;
    }
    const element = this.element(way);
    element?.setAttribute("aria-selected", "true");
    element?.setAttribute("tabindex", 0);
    this.panel.replaceChildren(...nodeDetails(this.report, this.model, this.target, way, this.actions(way)).filter(Boolean));
  }

  actions(way) {
    const actions = [];
    const node = this.model.nodeAt(way);
    if (node.body !== undefined) actions.push([this.state.open.has(way) ? "Close" : "Open", () => this.toggle(way)]);
    const fold = this.foldOf(way);
    if (fold && this.state.unfolded.has(fold.first)) actions.push([`Fold all ${fold.count}`, () => this.setFolded(fold.first, true)]);
    else if (fold) actions.push([`Show all ${fold.count}`, () => this.setFolded(fold.first, false)]);
    if (node.kind === "layer") actions.push(["In the table", () => showLayer(this.target, this.model.pathOf(way))]);
    actions.push(["Whole model", () => this.select(null)]);
    return actions;
  }

  // Open what holds a node, select it and bring it into sight.
  reveal(way, focus = true) {
    this.openWay(way);
    this.draw();
    this.select(way);
    this.camera.show(this.box(way), true, this.layout);
    if (focus) this.element(way)?.focus({ preventScroll: true });
  }

  // Mouse and keyboard -------------------------------------------------------------------------

  wayOf(event) {
    return event.target.closest?.("[data-way]")?.getAttribute("data-way") ?? null;
  }

  click(event) {
    if (this.camera.dragged) return;
    const way = this.wayOf(event);
    if (way !== null && event.target.closest("[data-toggle]")) this.toggle(way);
    else this.select(way);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const visible = [...this.world.querySelectorAll("[data-way]")];
    const way = this.wayOf(event) ?? this.selected;
    const here = visible.findIndex((one) => one.getAttribute("data-way") === way);
    const focus = (element) => {
      if (!element) return;
      this.select(element.getAttribute("data-way"));
      element.focus({ preventScroll: true });
      this.camera.show(this.box(this.selected), false);
    };
    const pan = { ArrowDown: [0, -60], ArrowUp: [0, 60], ArrowRight: [-60, 0], ArrowLeft: [60, 0] }[event.key];
    const openable = way !== null && this.model.nodeAt(way)?.body !== undefined;
    const isOpen = openable && this.state.open.has(way);
    const keys = {
      ArrowDown: () => focus(visible[here + 1]),
      ArrowUp: () => focus(visible[here - 1]),
      ArrowRight: () => (openable && !isOpen ? this.toggleAndFocus(way) : isOpen && focus(visible[here + 1])),
      ArrowLeft: () => (isOpen ? this.toggleAndFocus(way) : way !== null && parentOf(way) && focus(this.element(parentOf(way)))),
      Home: () => focus(visible[0]),
      End: () => focus(visible.at(-1)),
      Enter: () => openable && this.toggleAndFocus(way),
      " ": () => openable && this.toggleAndFocus(way),
      "+": () => this.camera.zoomBy(1.25),
      "-": () => this.camera.zoomBy(0.8),
      0: () => this.camera.fit(this.layout),
      Escape: () => this.select(null),
    };
    if (event.shiftKey && pan) this.camera.panBy(...pan);
    else if (keys[event.key]) keys[event.key]();
    else return;
    event.preventDefault();
  }

  toggleAndFocus(way) {
    this.toggle(way);
    this.element(way)?.focus({ preventScroll: true });
    this.camera.show(this.box(way), false);
  }
}
