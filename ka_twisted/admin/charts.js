// The charts and the table of reasons. A chart has a column for every five seconds, the present one last.

const COLUMN = 5, COLUMNS = 120;
const KINDS = {
  ordinary: "normal", costly: "caused by the response", clients: "caused by clients or networks", ours: "fault of the server",
};

let reasons = {}, columns = new Map(), cursor = null;

function remember(news) {
  for (const column of news) columns.set(column.t, column);
  const oldest = Math.max(...columns.keys()) - COLUMN * COLUMNS;
  for (const t of columns.keys()) if (t <= oldest) columns.delete(t);
}

const kindOf = (reason) => (reasons[reason] || { kind: "ordinary" }).kind;

function timeline() {
  const newest = columns.size ? Math.max(...columns.keys()) : 0;
  return Array.from({ length: COLUMNS }, (_, at) => newest - (COLUMNS - 1 - at) * COLUMN);
}

function spark(svg, value) {
  const width = svg.clientWidth || 200, height = svg.clientHeight || 35;
  const known = timeline().map((t) => columns.has(t) ? value(columns.get(t)) : null).slice(0, -1);
  const top = Math.max(1, ...known);
  const points = known.map((each, at) => each === null ? null :
    `${(at * width / (known.length - 1)).toFixed(1)} ${(height - 2 - each / top * (height - 4)).toFixed(1)}`);
  const path = points.map((point, at) => point && `${at && points[at - 1] ? "L" : "M"}${point}`).filter(Boolean).join("");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren(drawn("path", { d: path }));
}

function closedByKind(column) {
  const counts = { ordinary: 0, costly: 0, clients: 0, ours: 0 };
  for (const { reason, count } of column.closed) counts[kindOf(reason)] += count;
  return counts;
}

function showChart() {
  const svg = byId("chart"), width = svg.clientWidth || 600, height = svg.clientHeight || 200;
  const times = timeline(), bottom = height - 18, left = 1;
  const stacks = times.map((t) => columns.has(t) ? closedByKind(columns.get(t)) : null);
  const top = roundUp(Math.max(4, ...stacks.map((each) => each ? each.ordinary + each.costly + each.clients + each.ours : 0)));
  const x = (at) => left + at * (width - 2 * left) / COLUMNS, y = (count) => bottom - count / top * (bottom - 14);
  const slot = x(1) - x(0), gap = slot > 4 ? 1 : 0.4, paths = { ordinary: "", costly: "", clients: "", ours: "" };
  stacks.forEach((counts, at) => {
    let below = 0;
    for (const kind of counts ? Object.keys(paths) : []) {
      if (!counts[kind]) continue;
      const tall = Math.max(1.5, y(below) - y(below + counts[kind]));
      paths[kind] += `M${x(at).toFixed(1)} ${y(below).toFixed(1)}h${(slot - gap).toFixed(1)}v${-tall.toFixed(1)}h${-(slot - gap).toFixed(1)}z`;
      below += counts[kind];
    }
  });
  const nodes = [0, top / 2, top].map((count) => drawn("path", { class: "grid", d: `M0 ${y(count).toFixed(1)}H${width}` }));
  nodes.push(...Object.entries(paths).map(([kind, d]) => drawn("path", { class: kind, d })));
  nodes.push(...[top / 2, top].map((count) => drawn("text", { x: 0, y: y(count) - 3 }, `${exact.format(count)}${count === top ?
    " in 5 s" : ""}`)));
  nodes.push(...[[0, "10 min ago", "start"], [COLUMNS / 2, "5 min", "middle"], [COLUMNS, "now", "end"]].map(([at, text, anchor]) =>
    drawn("text", { x: x(at), y: height - 4, "text-anchor": anchor }, text)));
  if (cursor !== null) nodes.push(drawn("rect", { class: "cursor", x: x(cursor), y: 0, width: slot, height: bottom }));
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren(...nodes);
  showReadout(times);
  replace(byId("kinds"), Object.keys(KINDS).map((kind) => ({ key: kind, make: () => element("li", { class: kind }, KINDS[kind]) })));
}

function roundUp(count) {
  const power = 10 ** Math.floor(Math.log10(count));
  return [1, 2, 4, 5, 10].map((each) => each * power).find((each) => each >= count);
}

function showReadout(times) {
  const closed = [...columns.values()].reduce((sum, column) => sum + total(column), 0);
  let text = `${plural(closed, "connection")} closed in ten minutes. Point at a column, or use the arrow keys.`;
  if (cursor !== null) {
    const column = columns.get(times[cursor]);
    const what = !column ? "no data" : column.closed.length ? [...column.closed].sort((a, b) => b.count - a.count).map(
      ({ reason, by, count }) => `${whole.format(count)} ${reason} by ${side(by)}`).join(", ") : "none closed";
    text = `${clock(times[cursor])}: ${what}` + (column ? `; ${whole.format(column.open)} open` : "");
  }
  setText(byId("readout"), text);
}

const total = (column) => column.closed.reduce((sum, { count }) => sum + count, 0);

function showReasons() {
  const counts = new Map();
  for (const column of columns.values()) {
    for (const { reason, by, count } of column.closed) {
      const key = `${reason} ${by}`;
      counts.set(key, (counts.get(key) || 0) + count);
    }
  }
  const rows = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  const body = byId("reasons");
  replace(body, rows.length ? rows.map(([key]) => ({ key, make: () => reasonRow(...key.split(" ")) })) :
    [{ key: "none", make: () => element("tr", {}, element("td", { colspan: 3, class: "soft" }, "none")) }]);
  rows.forEach(([, count], at) => setText(body.children[at].lastChild, whole.format(count)));
}

function reasonRow(reason, by) {
  const { text, clause } = reasons[reason] || {};
  return element("tr", {}, element("td", {}, element("b", { class: kindOf(reason) }, reason), ...(text ?
    [element("small", { title: clause }, text)] : [])), element("td", {}, side(by)), element("td", { class: "number" }));
}

// Pointing at the chart.

function point(at) {
  cursor = at === null ? null : Math.min(COLUMNS - 1, Math.max(0, at));
  if (last !== null) showChart();
}

const chart = byId("chart");
chart.addEventListener("pointermove", (event) => {
  const box = chart.getBoundingClientRect();
  point(Math.floor((event.clientX - box.left) / box.width * COLUMNS));
});
chart.addEventListener("pointerleave", () => point(null));
chart.addEventListener("blur", () => point(null));
chart.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1, Home: -COLUMNS, End: COLUMNS }[event.key];
  if (step === undefined) { if (event.key === "Escape") point(null); return; }
  event.preventDefault();
  point((cursor === null ? COLUMNS - 1 - (step > 0 ? 1 : 0) : cursor) + (cursor === null ? 0 : step));
});
