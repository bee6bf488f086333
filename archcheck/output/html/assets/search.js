// The search field of a graph: a combobox whose matches are layers and operators, by name and type.

const MOST_RESULTS = 40;

class Search {
  constructor(model, target, pick) {
    this.model = model;
    this.pick = (way) => {
      this.close();
      pick(way);
    };
    const id = `results-${target}`;
    this.results = html("ul", { id, role: "listbox", "aria-label": "Matches", hidden: true });
    this.input = html("input", {
      type: "search", placeholder: "Search by name or type", "aria-label": "Search by name or type",
      role: "combobox", "aria-expanded": "false", "aria-controls": id, "aria-autocomplete": "list", autocomplete: "off",
      oninput: () => this.search(),
      onkeydown: (event) => this.key(event),
      onblur: () => this.close(),
    });
    this.box = html("div", { class: "search" }, this.input, this.results);
  }

  close() {
    this.results.hidden = true;
    this.input.setAttribute("aria-expanded", "false");
  }

  search() {
    const wanted = this.input.value.trim().toLowerCase();
    const found = wanted ? this.matches(wanted) : [];
    this.results.replaceChildren(...found.map(([way, name, type], index) =>
      html("li", { role: "option", id: `${this.results.id}-${index}`, "data-found": way,
        onpointerdown: (event) => { event.preventDefault(); this.pick(way); } },
      html("b", {}, name), ` ${type}`)));
    if (wanted && !found.length) this.results.append(html("li", { class: "none" }, "no layer or operator of that name"));
    this.results.hidden = !wanted;
    this.input.setAttribute("aria-expanded", String(found.length > 0));
    this.mark(0);
  }

  matches(wanted) {
    const found = [];
    this.model.walk((node, way, path) => {
      const [name, type] = node.kind === "layer" ? [path, node.type] : [node.name, path];
      if (name.toLowerCase().includes(wanted) || type.toLowerCase().includes(wanted)) found.push([way, name, type]);
      return found.length >= MOST_RESULTS;
    });
    return found;
  }

  options() {
    return [...this.results.querySelectorAll("[data-found]")];
  }

  mark(active) {
    const options = this.options();
    this.active = Math.min(Math.max(active, 0), Math.max(options.length - 1, 0));
    options.forEach((option, index) => option.setAttribute("aria-selected", String(index === this.active)));
    options[this.active]?.scrollIntoView({ block: "nearest" });
    if (options.length) this.input.setAttribute("aria-activedescendant", options[this.active].id);
    else this.input.removeAttribute("aria-activedescendant");
  }

  key(event) {
    const chosen = this.options()[this.active];
    if (event.key === "ArrowDown") this.mark(this.active + 1);
    else if (event.key === "ArrowUp") this.mark(this.active - 1);
    else if (event.key === "Enter" && chosen) this.pick(chosen.getAttribute("data-found"));
    else if (event.key === "Escape") this.close();
    else return;
    event.preventDefault();
  }
}
