// Which part of the graph is in sight: fit, zoom and pan by mouse, touch and keyboard.

const SMALLEST = 0.04;
const LARGEST = 3;
const MARGIN = 28;
// On a narrow screen the search field lies over the top of the graph.
const NARROW = 700;
const UNDER_SEARCH = 66;

class Camera {
  constructor(frame, world) {
    this.frame = frame;
    this.world = world;
    this.view = { x: 0, y: 0, zoom: 1 };
    this.pointers = new Map();
    this.dragged = false;
    frame.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    frame.addEventListener("pointerdown", (event) => this.down(event));
    frame.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) frame.addEventListener(name, (event) => this.up(event));
  }

  apply() {
    const { x, y, zoom } = this.view;
    this.world.setAttribute("transform", `translate(${x},${y}) scale(${zoom})`);
  }

  size() {
    const width = this.frame.clientWidth || 1;
    return { width, height: this.frame.clientHeight || 1, above: width < NARROW ? UNDER_SEARCH : MARGIN };
  }

  // On paper all of it stands, as large as the page lets it.
  print(layout) {
    const box = [-MARGIN, -MARGIN, layout.width + 2 * MARGIN, layout.height + 2 * MARGIN];
    this.frame.setAttribute("viewBox", box.join(" "));
    this.world.removeAttribute("transform");
  }

  afterPrint() {
    this.frame.removeAttribute("viewBox");
    this.apply();
  }

  // The zoom at which all of a layout is in sight.
  fitting(layout) {
    const { width, height, above } = this.size();
    return Math.min((width - 2 * MARGIN) / layout.width, (height - above - MARGIN) / layout.height, 1.15);
  }

  fit(layout, least = SMALLEST) {
    const { width, height, above } = this.size();
    const zoom = Math.max(this.fitting(layout), least);
    // What does not fit is shown from its beginning.
    const spare = height - above - MARGIN - layout.height * zoom;
    this.view = { x: (width - layout.width * zoom) / 2, y: above + Math.max(spare, 0) / 2, zoom };
    this.apply();
  }

  zoomBy(factor, x = this.size().width / 2, y = this.size().height / 2) {
    const zoom = Math.min(Math.max(this.view.zoom * factor, SMALLEST), LARGEST);
    const ratio = zoom / this.view.zoom;
    this.view = { x: x - (x - this.view.x) * ratio, y: y - (y - this.view.y) * ratio, zoom };
    this.apply();
  }

  panBy(x, y) {
    this.view = { ...this.view, x: this.view.x + x, y: this.view.y + y };
    this.apply();
  }

  // Bring a box, in the layout's coordinates, into sight; `centre` it, or move no more than needed.
  show(box, centre, layout) {
    const { width, height, above } = this.size();
    if (centre && this.view.zoom < 0.8) this.view.zoom = 1;
    const { zoom } = this.view;
    const left = box.x * zoom + this.view.x;
    const top = box.y * zoom + this.view.y;
    const shift = (start, length, room) => {
      if (centre) return (room - length) / 2 - start;
      if (start < MARGIN || length > room - 2 * MARGIN) return MARGIN - start;
      return Math.min(room - MARGIN - start - length, 0);
    };
    const fitsIn = left >= 0 && top >= 0 && left + box.width * zoom <= width && top + box.height * zoom <= height;
    if (centre || !fitsIn) this.panBy(shift(left, box.width * zoom, width), shift(top, box.height * zoom, height));
    if (!centre) return;
    // No empty space beyond the ends of what is taller than the screen.
    const { y } = this.view;
    const lowest = height - MARGIN - layout.height * zoom;
    if (lowest < above) this.panBy(0, Math.min(Math.max(y, lowest), above) - y);
  }

  at(event) {
    const { left, top } = this.frame.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  }

  wheel(event) {
    event.preventDefault();
    const { x, y } = this.at(event);
    const lines = event.deltaMode === 1 ? 16 : 1;
    this.zoomBy(Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.0016)), x, y);
  }

  down(event) {
    if (event.button !== 0) return;
    if (!this.pointers.size) this.dragged = false;
    this.pointers.set(event.pointerId, this.at(event));
  }

  move(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = this.at(event);
    // A trembling finger is no drag.
    if (!this.dragged && Math.hypot(now.x - before.x, now.y - before.y) < 4) return;
    if (!this.dragged) this.frame.setPointerCapture(event.pointerId);
    this.dragged = true;
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    this.pointers.set(event.pointerId, now);
    if (!other) return this.panBy(now.x - before.x, now.y - before.y);
    const ratio = Math.hypot(now.x - other.x, now.y - other.y) / Math.hypot(before.x - other.x, before.y - other.y);
    this.zoomBy(ratio, (now.x + other.x) / 2, (now.y + other.y) / 2);
    return this.panBy((now.x - before.x) / 2, (now.y - before.y) / 2);
  }

  up(event) {
    this.pointers.delete(event.pointerId);
  }
}
