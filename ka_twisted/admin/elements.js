// What every part of the page uses: numbers and times as text, and elements. Texts from clients are only ever put in as
// text. The scripts are joined into one function (page.py), the last of them operator.js.

const byId = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const exact = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString("en-GB");
const plural = (count, word) => `${whole.format(count)} ${word}${count === 1 ? "" : "s"}`;
const percent = (share) => `${(share * 100).toFixed(share > 0.999 && share < 1 ? 2 : 1)} %`;
const setText = (node, text) => { if (node.textContent !== text) node.textContent = text; };
const side = (by) => by === "us" ? "server" : by;
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

// Children are kept as long as their keys are the same: what is read aloud or pointed at stays.
function replace(parent, wanted) {
  const keys = wanted.map((each) => each.key).join("\n");
  if (parent.dataset.keys === keys) return;
  parent.dataset.keys = keys;
  parent.replaceChildren(...wanted.map((each) => each.make()));
}

function shares(bar, wanted) {
  replace(bar, wanted.map(([name]) => ({ key: name, make: () => element("i", { class: name }) })));
  wanted.forEach(([name, share], at) => { bar.children[at].style.flex = `${share} 0 0`;
    bar.children[at].hidden = !share; });
}
