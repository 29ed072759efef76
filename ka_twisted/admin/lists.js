// The lists of connections, and the record of one of them.

let shown = null;

const POINTS = matchMedia("(hover: hover)");

function showLists({ slowest, oldest, closed, about }) {
  const workers = about !== null && about.wanted > 0;
  if (!slowest) return;
  showRows(byId("slowest"), slowest.filter((row) => row.last), workers, (row) => duration(row.seconds));
  showRows(byId("oldest"), oldest, workers, (row) => duration(row.age));
  showRows(byId("closed"), closed, workers, (row) => duration(row.age));
}

function showRows(list, rows, workers, long) {
  const held = list.matches(":focus-within") || (POINTS.matches && list.matches(":hover"));
  const known = new Map([...list.children].map((item) => [item.dataset.key, item]));
  const key = (row) => `${row.pid} ${row.connection}`;
  // While a list is pointed at, nothing in it moves.
  if (!held || !rows.some((row) => known.has(key(row)))) {
    const items = rows.length ? rows.map((row) => known.get(key(row)) || rowItem(row, key(row))) :
      [known.get("") || element("li", { class: "none", "data-key": "" }, "none")];
    if (items.length !== list.children.length || items.some((item, at) => item !== list.children[at])) {
      list.replaceChildren(...items);
    }
  }
  for (const row of rows) {
    const item = [...list.children].find((each) => each.dataset.key === key(row));
    if (item) fillRow(item.firstChild, row, workers, long(row));
  }
}

function rowItem(row, key) {
  const button = element("button", { type: "button", "aria-haspopup": "dialog" }, ...["what", "long", "who", "how"].map((name) =>
    element("span", { class: name })));
  button.addEventListener("click", () => openRecord(row.pid, row.connection));
  return element("li", { "data-key": key }, button);
}

function fillRow(button, row, workers, long) {
  const [what, much, who, how] = button.children, request = row.last ? requestLine(row.last) : "no request";
  const from = `${row.peer || "UNIX socket"} \u00b7 ${plural(row.requests, "request")}` +
    (row.ended ? ` in ${long}` : "") + (workers ? ` \u00b7 pid ${row.pid}` : "");
  setText(what, row.ended || request);
  setText(much, row.ended ? `by ${side(row.by)}` : long);
  setText(who, row.ended ? `${from} \u00b7 ${request}` : from);
  setText(how, row.state || "");
  what.className = `what ${row.ended ? `named ${kindOf(row.ended)}` : ""}`;
  how.className = `how ${stateClass(row.state)}`;
}

function requestLine({ method, target, status }) {
  return `${method || "?"} ${target || ""}${status ? ` \u2192 ${status}` : ""}`;
}

// The record of one connection.

function openRecord(pid, connection) {
  shown = { pid, connection, text: "" };
  setText(byId("record-title"), `Connection ${connection}`);
  byId("record-body").replaceChildren();
  byId("record").showModal();
  showRecord();
}

async function showRecord() {
  if (shown === null || shown.complete || shown.asking) return;
  const asked = shown;
  asked.asking = true;
  try {
    const answer = await fetch(`/connections.json?connection=${asked.connection}&pid=${asked.pid}`);
    if (asked !== shown) return;
    if (answer.status === 404) {
      asked.complete = true;  // no longer remembered: what is shown stays
      if (!asked.text) byId("record-body").replaceChildren(element("p", {}, "This connection is no longer remembered."));
    } else if (answer.ok) {
      fillRecord(await answer.json(), asked);
    } else {
      byId("record-body").replaceChildren(element("p", { class: "notice bad" }, (await answer.text()).trim()));
    }
  } catch { /* unreachable: the page says so */ } finally { asked.asking = false; }
}

function fillRecord(record, asked) {
  asked.complete = "ended" in record;
  setText(byId("record-title"), `Connection ${record.connection} from ${record.peer || "UNIX socket"}`);
  const end = record.ended ? [element("p", { class: `why ${kindOf(record.ended.reason)}` }, endOf(record.ended))] : [];
  const text = JSON.stringify({ ...record, age: 0, opened: 0 });
  const opened = clock(Date.parse(record.opened) / 1000);
  const facts = `Accepted at ${opened} \u00b7 ${record.ended ? "lasted" : "open for"} ${duration(record.age)} \u00b7 ` +
    `${plural(record.requests, "request")} \u00b7 ${record.ended ? "closed" : record.state} \u00b7 pid ${record.pid}`;
  if (text !== asked.text) {
    asked.text = text;
    byId("record-body").replaceChildren(element("p", { class: "soft" }, facts), ...end, timeLine(record));
  }
  setText(byId("record-body").firstChild, facts);
}

const endOf = ({ by, text }) => `Closed by the ${side(by)}: ${text}.`;

function timeLine(record) {
  const line = element("ol", { class: "line" });
  const requests = [...record.latest].sort((a, b) => a.request - b.request);
  const busy = record.inService || [];
  const forgotten = record.requests - requests.length - busy.length;
  if (forgotten > 0) line.append(element("li", { class: "end" }, element("p", { class: "soft" },
    `${plural(forgotten, "earlier request")} no longer remembered`)));
  line.append(...requests.map((request) => requestItem(request, false)), ...busy.map((request) => requestItem(request, true)));
  if (record.ended) {
    const { reason, clause, state } = record.ended;
    line.append(element("li", { class: "end" }, element("p", {}, endOf(record.ended)),
      element("p", { class: "soft" }, `${reason} \u00b7 while ${state} \u00b7 ${clause}`)));
  } else if (!requests.length && !busy.length) {
    line.append(element("li", { class: "now" }, element("p", {}, "No request yet")));
  }
  return line;
}

function requestItem(request, busy) {
  const kept = request.persistence;
  const name = busy ? "now" : request.error || request.status === null || request.status >= 500 ? "error" :
    kept && !kept.keep ? "close" : "keep";
  const item = element("li", { class: name }, element("p", { class: "request" },
    element("span", {}, `${request.request}. ${requestLine(request)}`),
    element("span", {}, busy ? `${duration(request.duration)} so far` : duration(request.duration))));
  if (request.error) item.append(element("p", { class: "error-text" }, `${request.error.text} (${request.error.row})`));
  if (!busy && request.status === null) item.append(element("p", { class: "error-text" }, "ended without a response"));
  if (kept) item.append(element("p", { class: "soft" }, `${kept.keep ? "keep" : "close"}: ${kept.detail ? `${kept.detail}, ` : ""}` +
    `${kept.reason} \u00b7 ${kept.clause} \u00b7 ${kept.row}`));
  const rules = [["request body", request.framing], ["expectation", request.expectation], ["response body", request.responseFraming]];
  const more = rules.filter(([, row]) => row).map(([what, row]) => `${what}: ${row}`);
  const bytes = busy ? [] : [`HTTP/${request.version || "?"}`, `${plural(request.bytes, "byte")} sent`];
  item.append(element("p", { class: "soft" }, [...bytes, ...more].join(" \u00b7 ")));
  return item;
}

byId("record").addEventListener("close", () => { shown = null; });
