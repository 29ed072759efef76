"use strict";
// The page is a function of the last event: nothing that is shown is computed from what was shown before, but for the
// columns of the chart. Whatever comes from clients is put in as text.
(() => {
  const COLUMN = 5, COLUMNS = 120, SILENCE = 3500, RETRY = 2000, REMEMBERED = 60000;
  const KINDS = {
    ordinary: "as connections are meant to end", costly: "for the way we answered",
    clients: "for what clients or networks did", ours: "for a fault of ours",
  };
  const STATES = ["idle", "responding", "reading a head", "reading a body", "unused", "closing", "switched"];
  const LEVELS = { good: "#2f9e69", note: "#2b76c4", warning: "#dd9a1f", bad: "#cf3f45" };

  const byId = (id) => document.getElementById(id);
  const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
  const exact = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
  const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString("en-GB");
  const plural = (count, word) => `${whole.format(count)} ${word}${count === 1 ? "" : "s"}`;
  const percent = (share) => `${(share * 100).toFixed(share > 0.999 && share < 1 ? 2 : 1)} %`;
  const setText = (node, text) => { if (node.textContent !== text) node.textContent = text; };
  const stateClass = (state) => (state || "").replaceAll(" ", "-");

  function duration(seconds) {
    if (seconds < 1) return `${exact.format(seconds * 1000)} ms`;
    if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
    const minutes = Math.floor(seconds / 60);
    if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
    const hours = Math.floor(minutes / 60);
    return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
  }

  function element(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  }

  function drawn(tag, attributes, text) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    if (text !== undefined) node.textContent = text;
    return node;
  }

  // What is known.

  let reasons = {}, columns = new Map(), last = null, lastAt = 0, source = null, retry = 0, cursor = null, shown = null, failed = false;

  function remember(news) {
    for (const column of news) columns.set(column.t, column);
    const oldest = Math.max(...columns.keys()) - COLUMN * COLUMNS;
    for (const t of columns.keys()) if (t <= oldest) columns.delete(t);
  }

  const kindOf = (reason) => (reasons[reason] || { kind: "ordinary" }).kind;

  // The stream of events.

  function connect() {
    clearTimeout(retry);
    if (source) source.close();
    source = new EventSource("/events");
    source.addEventListener("history", (event) => {
      const history = JSON.parse(event.data);
      reasons = history.reasons;
      columns = new Map();
      remember(history.columns);
    });
    source.onmessage = (event) => hear(JSON.parse(event.data));
    source.onopen = () => { failed = false; };
    source.onerror = () => {
      failed = true;
      show();
      if (source.readyState === EventSource.CLOSED) refused();  // it does not try again by itself
    };
  }

  async function refused() {
    clearTimeout(retry);
    retry = setTimeout(connect, RETRY);
    try {
      const answer = await fetch("/events", { method: "HEAD" });
      if (answer.status === 401) location.reload();  // to be asked for the token
    } catch { /* there is no server; it is tried again */ }
  }

  function hear(said) {
    const before = last && last.about, now = said.about;
    if (before && now && (before.pid !== now.pid || before.started !== now.started)) {
      setText(byId("restarted"), `The server was started anew at ${clock(Date.parse(now.started) / 1000)}.`);
      byId("restarted").hidden = false;
      setTimeout(() => { byId("restarted").hidden = true; }, REMEMBERED);
    }
    const newest = columns.size ? Math.max(...columns.keys()) : null;
    last = said;
    lastAt = performance.now();
    if (said.columns) {
      if (newest !== null && said.columns.length && said.columns[0].t > newest + 2 * COLUMN) return connect();
      remember(said.columns);
    }
    show();
  }

  // The parts of the page. A fault in one leaves the others as they are.

  const parts = [showState, showVerdict, showFigures, showChart, showReasons, showLists, showFacts, showStory];

  function show() {
    if (document.hidden) return;
    const silent = last === null || failed || performance.now() - lastAt > SILENCE;
    showContact(silent);
    if (last === null) return;
    for (const part of parts) {
      try { part(last, silent); } catch (error) { console.error(error); }
    }
  }

  function showContact(silent) {
    const notice = byId("contact");
    document.body.classList.toggle("lost", silent && last !== null);
    notice.hidden = !silent || (last === null && performance.now() < SILENCE);
    const since = last === null ? "" : ` for ${duration(Math.max(1, Math.round((performance.now() - lastAt) / 1000)))}`;
    if (!notice.hidden) setText(notice, `No contact with the server${since}. Trying again; what is below is old.`);
  }

  function showState({ about }, silent) {
    const state = byId("state"), body = document.body.classList;
    const name = about === null ? "unknown" : about.state === "serving" && !about.ready ? "out" : about.state;
    for (const each of ["unknown", "serving", "reloading", "draining", "out"]) body.toggle(each, each === name);
    setText(state, silent ? "No contact" : { out: "Not ready", serving: "Serving", reloading: "Reloading",
      draining: "Draining", unknown: "Unknown" }[name]);
    const drain = byId("drain");
    drain.disabled = silent || name === "draining" || name === "unknown";
    setText(drain, name === "draining" ? "Draining" : "Drain\u2026");
    if (about === null) return;
    const workers = about.wanted ? [plural(about.wanted, "worker")] : [];
    const up = duration(Math.max(0, last.now - Date.parse(about.started) / 1000));
    setText(byId("identity"), [location.host, `up ${up}`, ...workers, `pid ${about.pid}`, `version ${about.version}`].join(" \u00b7 "));
    setText(byId("updated"), `As of ${clock(last.now)}`);
  }

  function showVerdict({ remarks }, silent) {
    const level = remarks.length ? remarks[0].level : "good";
    const troubles = remarks.filter((remark) => remark.level !== "note").length;
    const section = byId("verdict").parentNode;
    section.className = `verdict ${silent ? "bad" : level}`;
    setText(byId("verdict"), troubles ? `${troubles === 1 ? "One thing needs" : `${troubles} things need`} a look`
      : "Nothing is wrong that shows");
    replace(byId("remarks"), remarks.map((remark) => ({ key: remark.text, make: () => element("li", { class: remark.level },
      element("span", {}, remark.text)) })));
    document.title = `${silent ? "No contact" : troubles ? `(${troubles}) ${last.about ? last.about.state : ""}` :
      last.about ? last.about.state : ""} \u00b7 ka_twisted on ${location.host}`;
    const colour = LEVELS[silent ? "bad" : level].replace("#", "%23");
    const icon = "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'>" +
      `<circle cx='8' cy='8' r='7' fill='${colour}'/></svg>`;
    const link = document.querySelector("link[rel=icon]");
    if (link.getAttribute("href") !== icon) link.setAttribute("href", icon);
  }

  // Children are kept as long as their keys are the same: what is read aloud or pointed at stays.
  function replace(parent, wanted) {
    const keys = wanted.map((each) => each.key).join("\n");
    if (parent.dataset.keys === keys) return;
    parent.dataset.keys = keys;
    parent.replaceChildren(...wanted.map((each) => each.make()));
  }

  function showFigures({ connections, rate, recent, total }) {
    if (!connections) return;
    const states = STATES.filter((state) => connections[state]);
    const count = states.reduce((sum, state) => sum + connections[state], 0);
    setText(byId("open"), whole.format(count));
    shares(byId("states-bar"), states.map((state) => [stateClass(state), connections[state]]));
    const key = byId("states");
    replace(key, states.map((state) => ({ key: state, make: () => element("li", { class: stateClass(state) }) })));
    states.forEach((state, at) => setText(key.children[at], `${state} ${whole.format(connections[state])}`));

    setText(byId("rate"), rate < 10 ? exact.format(rate) : whole.format(rate));
    setText(byId("rate-more"), `${whole.format(total.requests)} since the start`);
    spark(byId("rate-chart"), (column) => column.s ? column.requests / column.s : 0);

    const reuse = recent.reuse === null ? total.reuse : recent.reuse;
    setText(byId("reuse"), reuse === null ? "\u2013" : percent(reuse));
    shares(byId("reuse-bar"), reuse === null ? [] : [["reused", reuse], ["rest", 1 - reuse]]);
    setText(byId("reuse-more"), total.reuse === null ? "no request yet" : recent.reuse === null ?
      "since the start; none in the last minute" : `in the last minute; ${percent(total.reuse)} since the start`);

    const waits = recent.half === null ? total : recent;
    setText(byId("wait"), waits.half === null ? "\u2013" : bound(waits.half));
    setText(byId("wait-more"), waits.half === null ? "no request yet" :
      `for half of the requests, ${bound(waits.most)} for 99 %, ` + (waits === recent ? "in the last minute" : "since the start"));
  }

  const bound = (seconds) => seconds === -1 ? "more than 30 s" : `\u2264 ${duration(seconds)}`;

  function shares(bar, wanted) {
    replace(bar, wanted.map(([name]) => ({ key: name, make: () => element("i", { class: name }) })));
    wanted.forEach(([name, share], at) => { bar.children[at].style.flex = `${share} 0 0`;
      bar.children[at].hidden = !share; });
  }

  // The charts. They have a column for every five seconds, the present one last.

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
      const what = !column ? "not known" : column.closed.length ? [...column.closed].sort((a, b) => b.count - a.count).map(
        ({ reason, by, count }) => `${reason} by ${by} ${whole.format(count)}`).join(", ") : "none closed";
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
      [element("small", { title: clause }, text)] : [])), element("td", {}, by), element("td", { class: "number" }));
  }

  // The lists of connections.

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
    // While somebody points at a list, nothing in it moves.
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
    button.addEventListener("click", () => openStory(row.pid, row.connection));
    return element("li", { "data-key": key }, button);
  }

  function fillRow(button, row, workers, long) {
    const [what, much, who, how] = button.children, request = row.last ? requestLine(row.last) : "no request";
    const from = `${row.peer || "a socket of this machine"} \u00b7 ${plural(row.requests, "request")}` +
      (row.ended ? ` in ${long}` : "") + (workers ? ` \u00b7 pid ${row.pid}` : "");
    setText(what, row.ended || request);
    setText(much, row.ended ? `by ${row.by}` : long);
    setText(who, row.ended ? `${from} \u00b7 ${request}` : from);
    setText(how, row.state || "");
    what.className = `what ${row.ended ? `named ${kindOf(row.ended)}` : ""}`;
    how.className = `how ${stateClass(row.state)}`;
  }

  function requestLine({ method, target, status }) {
    return `${method || "?"} ${target || ""}${status ? ` \u2192 ${status}` : ""}`;
  }

  // One connection's story.

  function openStory(pid, connection) {
    shown = { pid, connection, told: "" };
    setText(byId("story-title"), `Connection ${connection}`);
    byId("story-body").replaceChildren();
    byId("story").showModal();
    showStory();
  }

  async function showStory() {
    if (shown === null || shown.over || shown.asking) return;
    const asked = shown;
    asked.asking = true;
    try {
      const answer = await fetch(`/connections.json?connection=${asked.connection}&pid=${asked.pid}`);
      if (asked !== shown) return;
      if (answer.status === 404) {
        asked.over = true;  // it is remembered no more; what is shown stays
        if (!asked.told) byId("story-body").replaceChildren(element("p", {}, "This connection is not remembered any more."));
      } else if (answer.ok) {
        tellStory(await answer.json(), asked);
      } else {
        byId("story-body").replaceChildren(element("p", { class: "notice bad" }, (await answer.text()).trim()));
      }
    } catch { /* no contact; the page says so */ } finally { asked.asking = false; }
  }

  function tellStory(story, asked) {
    asked.over = "ended" in story;
    setText(byId("story-title"), `Connection ${story.connection} from ${story.peer || "a socket of this machine"}`);
    const end = story.ended ? [element("p", { class: `why ${kindOf(story.ended.reason)}` }, endOf(story.ended))] : [];
    const told = JSON.stringify({ ...story, age: 0, opened: 0 });
    const opened = clock(Date.parse(story.opened) / 1000);
    const facts = `Accepted at ${opened} \u00b7 ${story.ended ? "lasted" : "open for"} ${duration(story.age)} \u00b7 ` +
      `${plural(story.requests, "request")} \u00b7 ${story.ended ? "closed" : story.state} \u00b7 pid ${story.pid}`;
    if (told !== asked.told) {
      asked.told = told;
      byId("story-body").replaceChildren(element("p", { class: "soft" }, facts), ...end, timeLine(story));
    }
    setText(byId("story-body").firstChild, facts);
  }

  const endOf = ({ by, text }) => `Ended by ${by === "us" ? "us" : `the ${by}`}: ${text}.`;

  function timeLine(story) {
    const line = element("ol", { class: "line" });
    const requests = [...story.latest].sort((a, b) => a.request - b.request);
    const busy = story.inService || [];
    const forgotten = story.requests - requests.length - busy.length;
    if (forgotten > 0) line.append(element("li", { class: "end" }, element("p", { class: "soft" },
      `${plural(forgotten, "earlier request")} not remembered`)));
    line.append(...requests.map((request) => requestItem(request, false)), ...busy.map((request) => requestItem(request, true)));
    if (story.ended) {
      const { reason, clause, state } = story.ended;
      line.append(element("li", { class: "end" }, element("p", {}, endOf(story.ended)),
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
    const rules = [["body", request.framing], ["expectation", request.expectation], ["response", request.responseFraming]];
    const more = rules.filter(([, row]) => row).map(([what, row]) => `${what} by ${row}`);
    const bytes = busy ? [] : [`HTTP/${request.version || "?"}`, `${plural(request.bytes, "byte")} of body`];
    item.append(element("p", { class: "soft" }, [...bytes, ...more].join(" \u00b7 ")));
    return item;
  }

  byId("story").addEventListener("close", () => { shown = null; });

  // The server itself.

  function showFacts({ about }) {
    if (about === null) return;
    const facts = byId("facts"), key = JSON.stringify([about.listeners, about.timers, about.limits, about.workers]);
    if (facts.dataset.key === key) return;
    facts.dataset.key = key;
    const pairs = (title, values) => element("div", {}, element("h3", {}, title), element("dl", {}, ...Object.entries(values).flatMap(
      ([name, value]) => [element("dt", {}, name), element("dd", {}, typeof value === "number" ? exact.format(value) : `${value ?? "\u2013"}`)])));
    const listeners = element("div", {}, element("h3", {}, "Listeners"), ...about.listeners.map((each) => element("p", {}, each)));
    const workers = Object.fromEntries(about.workers.map((each) => [`pid ${each.pid}`, each.ready ? `${whole.format(each.open)} open` :
      "not ready"]));
    facts.replaceChildren(listeners, ...(about.workers.length ? [pairs("Workers", workers)] : []), pairs("Timers, in seconds", about.timers),
      pairs("Limits; 0 is none", about.limits));
  }

  // Taking it out of service.

  byId("drain").addEventListener("click", () => {
    const open = STATES.reduce((sum, state) => sum + (last.connections[state] || 0), 0);
    setText(byId("sure-text"), `It accepts no new connections then, and its ${plural(open, "open connection")} ${open === 1 ? "is" : "are"} closed.`);
    byId("sure-failed").hidden = true;
    byId("sure").showModal();
  });

  byId("really").addEventListener("click", async () => {
    const failed = byId("sure-failed");
    byId("really").disabled = true;
    try {
      const answer = await fetch("/drain", { method: "POST" });
      if (answer.ok) byId("sure").close();
      else setText(failed, (await answer.text()).trim());
      failed.hidden = answer.ok;
    } catch {
      setText(failed, "There was no answer.");
      failed.hidden = false;
    }
    byId("really").disabled = false;
  });

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

  // Nobody looks at a page that is hidden: the server need not look for it.
  document.addEventListener("visibilitychange", () => {
    lastAt = performance.now();
    if (document.hidden) source.close();
    else connect();
  });
  new ResizeObserver(() => { if (last !== null) showChart(); }).observe(chart);
  setInterval(show, 1000);
  connect();
})();
