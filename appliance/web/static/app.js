// Keeps the page true: fills it from /events, and says UNKNOWN when no event came for one second.
// The server makes every word; this file only puts text and a few attributes where they belong.
"use strict";

(() => {
  const LOST_AFTER_MS = 1000;
  const RETRY_MS = 2000;
  const SETTABLE = new Set([
    "data-build", "data-mode", "data-state", "data-color", "data-pattern",
    "datetime", "hidden", "max", "title", "value", "width",
  ]);
  const root = document.documentElement;
  const byId = (id) => document.getElementById(id);
  const calm = matchMedia("(prefers-reduced-motion: reduce)");

  let heard = performance.now();
  let tried = heard;
  let lost = false;
  let stream = null;

  function fill(element, [text, attributes]) {
    if (text !== null && element.textContent !== text) element.textContent = text;
    for (const [name, value] of Object.entries(attributes)) {
      if (!SETTABLE.has(name)) throw new Error(`attribute ${name} is not for the page to set`);
      if (value === null) element.removeAttribute(name);
      else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
    }
    if ("datetime" in attributes) addLocalTime(element);
  }

  function fillRows(blank, rows) {
    const list = blank.parentElement;
    while (list.children.length > rows.length + 1) list.lastElementChild.remove();
    rows.forEach((cells, index) => {
      const row = list.children[index + 1] ?? list.appendChild(blank.content.firstElementChild.cloneNode(true));
      fill(row, cells[0]);
      for (const part of row.querySelectorAll("[data-c]")) fill(part, cells[part.dataset.c]);
    });
  }

  // The Swedish locale writes what the UTC time beside it looks like: 2026-11-21 07:06:05.
  function addLocalTime(element) {
    const beside = element.nextElementSibling;
    if (!beside?.classList.contains("local")) return;
    const when = new Date(element.dateTime);
    const known = element.dateTime !== "" && when.getTimezoneOffset() !== 0;
    const day = when.getDate() === when.getUTCDate() ? "" : `${when.toLocaleDateString("sv-SE")} `;
    const text = known ? `(${day}${when.toLocaleTimeString("sv-SE")} local)` : "";
    if (beside.textContent !== text) beside.textContent = text;
  }

  function show(view) {
    if (view.one.root[1]["data-build"] !== root.dataset.build) {
      location.reload(); // the box was updated: this page and its script are of the old version
      return;
    }
    for (const [id, cell] of Object.entries(view.one)) fill(byId(id), cell);
    for (const [name, rows] of Object.entries(view.rows)) {
      fillRows(document.querySelector(`template[data-rows="${name}"]`), rows);
    }
    heard = performance.now();
    if (lost || root.dataset.link !== "live") connected(true);
    if (calm.matches) return;
    for (const dot of document.querySelectorAll("[data-beat]")) {
      dot.animate([{ opacity: 1 }, { opacity: 1, offset: 0.4 }, { opacity: 0 }], 200);
    }
  }

  function connected(yes) {
    lost = !yes;
    root.dataset.link = yes ? "live" : "lost";
    byId("link").textContent = yes ? "live" : "last heard";
    for (const part of document.querySelectorAll("[data-lost]")) part.hidden = yes;
  }

  function lose() {
    const since = `NOT CONNECTED SINCE ${byId("now").textContent}`;
    connected(false);
    byId("mode").textContent = "UNKNOWN";
    byId("since").textContent = since;
    document.title = `UNKNOWN – ${since}`;
  }

  function watch() {
    const now = performance.now();
    if (now - heard <= LOST_AFTER_MS) return;
    if (!lost) lose();
    if (now - tried > RETRY_MS) connect();
  }

  // A box that lost power never closes its streams, and a refused stream is never retried by the browser:
  // so the page itself opens a new one, as long as it hears nothing.
  function connect() {
    tried = performance.now();
    stream?.close();
    stream = new EventSource("/events");
    stream.addEventListener("view", (event) => show(JSON.parse(event.data)));
  }

  root.dataset.link = "fresh";
  byId("stale").hidden = true;
  for (const time of document.querySelectorAll("time")) addLocalTime(time);
  connect();
  // Timers of a hidden page may be slowed to one a minute, and a title that says NORMAL is what people keep
  // in a hidden tab. A worker's timers are not slowed.
  setInterval(watch, 250);
  new Worker("/static/tick.js").onmessage = watch;
})();
