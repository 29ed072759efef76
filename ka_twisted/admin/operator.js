// The page is a function of the last event: nothing that is shown is computed from what was shown before, but for the
// columns of the chart.

const SILENCE = 3500, RETRY = 2000, REMEMBERED = 60000;
const LEVELS = { good: "#2f9e69", note: "#2b76c4", warning: "#dd9a1f", bad: "#cf3f45" };

let families = [], states = [], longest = 0, last = null, lastAt = 0, source = null, retry = 0, failed = false;

// The stream of events.

function connect() {
  clearTimeout(retry);
  if (source) source.close();
  source = new EventSource("/events");
  source.addEventListener("history", (event) => {
    const history = JSON.parse(event.data);
    ({ reasons, families, states, longest } = history);
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
    setText(byId("restarted"), `The server was restarted at ${clock(Date.parse(now.started) / 1000)}.`);
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

const parts = [showState, showVerdict, showFigures, showChart, showReasons, showLists, showFacts, showMetrics, showRecord];

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
  if (!notice.hidden) setText(notice, `The server has not answered${since}. Retrying; the figures below are out of date.`);
}

function showState({ about }, silent) {
  const state = byId("state"), body = document.body.classList;
  const name = about === null ? "unknown" : about.state === "serving" && !about.ready ? "out" : about.state;
  for (const each of ["unknown", "serving", "reloading", "draining", "out"]) body.toggle(each, each === name);
  setText(state, silent ? "Unreachable" : { out: "Not ready", serving: "Serving", reloading: "Reloading",
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
  setText(byId("verdict"), troubles ? `${plural(troubles, "problem")} found`
    : "No problems found");
  replace(byId("remarks"), remarks.map((remark) => ({ key: remark.text, make: () => element("li", { class: remark.level },
    element("span", {}, remark.text)) })));
  document.title = `${silent ? "Unreachable" : troubles ? `(${troubles}) ${last.about ? last.about.state : ""}` :
    last.about ? last.about.state : ""} \u00b7 ka_twisted on ${location.host}`;
  const colour = LEVELS[silent ? "bad" : level].replace("#", "%23");
  const icon = "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'>" +
    `<circle cx='8' cy='8' r='7' fill='${colour}'/></svg>`;
  const link = document.querySelector("link[rel=icon]");
  if (link.getAttribute("href") !== icon) link.setAttribute("href", icon);
}

function showFigures({ connections, rate, recent, total }) {
  if (!connections) return;
  const present = states.filter((state) => connections[state]);
  const count = present.reduce((sum, state) => sum + connections[state], 0);
  setText(byId("open"), whole.format(count));
  shares(byId("states-bar"), present.map((state) => [stateClass(state), connections[state]]));
  const key = byId("states");
  replace(key, present.map((state) => ({ key: state, make: () => element("li", { class: stateClass(state) }) })));
  present.forEach((state, at) => setText(key.children[at], `${state} ${whole.format(connections[state])}`));

  setText(byId("rate"), rate < 10 ? exact.format(rate) : whole.format(rate));
  setText(byId("rate-more"), `${whole.format(total.requests)} since start`);
  spark(byId("rate-chart"), (column) => column.s ? column.requests / column.s : 0);

  const reuse = recent.reuse === null ? total.reuse : recent.reuse;
  setText(byId("reuse"), reuse === null ? "\u2013" : percent(reuse));
  shares(byId("reuse-bar"), reuse === null ? [] : [["reused", reuse], ["rest", 1 - reuse]]);
  setText(byId("reuse-more"), total.reuse === null ? "no requests yet" : recent.reuse === null ?
    "since start; none in the last minute" : `in the last minute; ${percent(total.reuse)} since start`);

  const waits = recent.half === null ? total : recent;
  setText(byId("wait"), waits.half === null ? "\u2013" : bound(waits.half));
  setText(byId("wait-more"), waits.half === null ? "no requests yet" :
    `median; ${bound(waits.most)} for 99 % of requests, ` + (waits === recent ? "in the last minute" : "since start"));
}

const bound = (seconds) => seconds === -1 ? `> ${duration(longest)}` : `\u2264 ${duration(seconds)}`;

// The server itself, and all that it counts.

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
  facts.replaceChildren(listeners, ...(about.workers.length ? [pairs("Workers", workers)] : []), pairs("Timers (seconds)", about.timers),
    pairs("Limits (0: no limit)", about.limits));
}

// The families come with the history, their numbers with each event.

function showMetrics({ metrics }) {
  if (!metrics || !byId("metrics").open) return;
  const body = byId("metrics-rows");
  replace(body, families.map((family) => ({ key: family.name, make: () => element("tr", {},
    element("td", {}, element("code", {}, family.name), element("small", {}, family.help)), element("td", {}), element("td", {}, family.unit)) })));
  families.forEach((family, at) => {
    const rows = (metrics[family.name] || []).map(({ count, ...labels }) => [Object.values(labels).join(" "), number(count)].filter(Boolean).join(": "));
    setText(body.children[at].children[1], rows.join("\n") || "0");
  });
}

const number = (count) => count % 1 ? count.toPrecision(4) : whole.format(count);
byId("metrics").addEventListener("toggle", show);

// The drain.

byId("drain").addEventListener("click", () => {
  const open = states.reduce((sum, state) => sum + (last.connections[state] || 0), 0);
  setText(byId("sure-text"), `It will accept no new connections, and close its ${plural(open, "open connection")}.`);
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
    setText(failed, "The server did not answer.");
    failed.hidden = false;
  }
  byId("really").disabled = false;
});

// While the page is hidden, the server need not sample for it.
document.addEventListener("visibilitychange", () => {
  lastAt = performance.now();
  if (document.hidden) source.close();
  else connect();
});
new ResizeObserver(() => { if (last !== null) showChart(); }).observe(chart);
setInterval(show, 1000);
connect();
