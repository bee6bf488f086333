// The layer table: sorted by a click on a column's title, filtered by a few typed letters.

function enhanceTable(table, showPath) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  for (const row of original) {
    // A layer's name leads to its box in the graph.
    const { path } = row.dataset;
    const [name] = row.cells;
    if (path) name.replaceChildren(html("button", { type: "button", class: "link", onclick: () => showPath(path) }, name.textContent));
  }
  const filter = html("input", { type: "search", placeholder: "Filter by name or type", "aria-label": "Filter the layers" });
  const count = html("span", { class: "remark", role: "status" });
  filter.addEventListener("input", () => {
    const wanted = filter.value.trim().toLowerCase();
    let shown = 0;
    for (const row of original) {
      const text = `${row.dataset.path ?? ""} ${row.cells[0].textContent} ${row.cells[1].textContent}`;
      row.hidden = !text.toLowerCase().includes(wanted);
      shown += row.hidden ? 0 : 1;
    }
    count.textContent = wanted ? `${shown} of ${original.length} rows` : "";
  });
  table.parentElement.before(html("p", { class: "filter" }, filter, count));
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = html("button", { type: "button" }, head.textContent);
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const before = head.getAttribute("aria-sort");
      // Numbers are wanted largest first; the third click brings the model's own order back.
      const numeric = original.some((row) => row.cells[column].dataset.value !== undefined);
      const order = numeric ? ["descending", "ascending", null] : ["ascending", "descending", null];
      const next = order[(order.indexOf(before) + 1) % order.length];
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      if (next) head.setAttribute("aria-sort", next);
      const rows = next ? [...original].sort((a, b) => compareCells(a.cells[column], b.cells[column]) * (next === "ascending" ? 1 : -1)) : original;
      table.classList.toggle("sorted", Boolean(next));
      body.append(...rows);
    });
  });
}

function compareCells(a, b) {
  if (a.dataset.value !== undefined) return Number(a.dataset.value) - Number(b.dataset.value);
  return a.textContent.localeCompare(b.textContent, "en", { numeric: true });
}

// The row of a layer, or of the folded ones that it is among.
function rowOf(target, path) {
  const rows = [...document.querySelectorAll(`#table-${target} tr[data-path]`)];
  const plain = (text) => text.replace(/\d+/g, "#");
  return rows.find((row) => row.dataset.path === path) ?? rows.findLast((row) => plain(row.dataset.path) === plain(path));
}
