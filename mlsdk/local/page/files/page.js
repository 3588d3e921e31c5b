// Keeps the page as new as the service, and adds keys and themes. Without it the page works, but stands still.
"use strict";

// --- theme: as the system has it, unless somebody chose ---------------------------------------------------------------

const THEMES = ["system", "light", "dark"];
const system = matchMedia("(prefers-color-scheme: dark)");

function chosenTheme() {
  try {
    const kept = localStorage.getItem("theme");
    return THEMES.includes(kept) ? kept : "system";
  } catch {
    return "system"; // storage is forbidden: then no choice is kept
  }
}

function showTheme() {
  const theme = chosenTheme();
  document.documentElement.dataset.theme = theme === "system" ? (system.matches ? "dark" : "light") : theme;
  const button = document.getElementById("theme");
  if (button) button.textContent = { system: "Auto", light: "Light", dark: "Dark" }[theme];
}

function nextTheme() {
  try {
    localStorage.setItem("theme", THEMES[(THEMES.indexOf(chosenTheme()) + 1) % THEMES.length]);
  } catch {
    return;
  }
  showTheme();
}

showTheme();
system.addEventListener("change", showTheme);
addEventListener("storage", showTheme);

// --- times, in the reader's own time zone -----------------------------------------------------------------------------

const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const TIME = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

function localiseTimes(root) {
  for (const time of root.querySelectorAll("time")) {
    const instant = new Date(time.dateTime);
    if (!Number.isNaN(instant.getTime())) time.textContent = ("day" in time.dataset ? DAY : TIME).format(instant);
  }
}

// --- make the page look like a newer one, and leave alone what is the same: focus, open details, selection, scroll ----

function morph(old, young) {
  for (const { name } of [...old.attributes]) {
    if (!young.hasAttribute(name) && !isReaders(old, name)) old.removeAttribute(name);
  }
  for (const { name, value } of young.attributes) {
    if (old.getAttribute(name) !== value && !isReaders(old, name)) old.setAttribute(name, value);
  }
  morphChildren(old, young);
}

// What the reader changed by hand: opened details, typed text, and the mark of what has just arrived.
function isReaders(element, name) {
  return (
    (name === "open" && element.matches("details")) ||
    (name === "value" && element.matches("input")) ||
    (name === "selected" && element.matches("option")) ||
    (name === "class" && element.classList.contains("arrived"))
  );
}

function morphChildren(old, young) {
  const keyed = new Map();
  for (const child of old.children) if (child.dataset?.key) keyed.set(child.dataset.key, child);
  let place = old.firstChild;
  for (const wanted of [...young.childNodes]) {
    const key = wanted.dataset?.key;
    const match = key ? keyed.get(key) : isAlike(place, wanted) ? place : null;
    if (match) {
      if (match !== place) old.insertBefore(match, place);
      else place = place.nextSibling;
      if (match.nodeType === Node.ELEMENT_NODE) morph(match, wanted);
      else if (match.data !== wanted.data) match.data = wanted.data;
    } else {
      const added = document.importNode(wanted, true);
      if (key) added.classList.add("arrived");
      old.insertBefore(added, place);
    }
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

function isAlike(old, young) {
  if (!old || old.nodeType !== young.nodeType) return false;
  if (old.nodeType !== Node.ELEMENT_NODE) return true;
  return old.localName === young.localName && !old.dataset?.key && old.id === young.id;
}

// --- live -------------------------------------------------------------------------------------------------------------

let source = null;
let isAsking = false;
let newest = null;

function showLive(state, text) {
  const live = document.getElementById("live");
  if (live.textContent === text) return;
  live.className = `live ${state}`;
  live.textContent = text;
}

function listen() {
  source = new EventSource(document.getElementById("main").dataset.changes);
  source.onopen = () => showLive("on", "live");
  source.onerror = () => showLive("lost", "no connection");
  source.onmessage = (message) => {
    newest = message.data;
    refresh();
  };
}

async function refresh() {
  const main = document.getElementById("main");
  if (isAsking || newest === null || newest === main.dataset.version) return;
  isAsking = true;
  const asked = newest;
  try {
    const answer = await fetch(location.href.split("#")[0], { cache: "no-store" });
    if (answer.ok || answer.status === 404) show(await answer.text());
  } catch {
    return; // the service is away: the event source notices too, and asks again when it is back
  } finally {
    isAsking = false;
  }
  // Something came while the answer was on its way.
  if (newest !== asked) setTimeout(refresh, 0);
}

function show(text) {
  const young = new DOMParser().parseFromString(text, "text/html");
  localiseTimes(young);
  const wasAtEnd = innerHeight + scrollY >= document.documentElement.scrollHeight - 40 && scrollY > 0;
  document.title = young.title;
  for (const id of ["main", "problems-link"]) morph(document.getElementById(id), young.getElementById(id));
  if (wasAtEnd) scrollTo(0, document.documentElement.scrollHeight);
}

// A hidden page holds no connection: browsers allow few to one service.
function listenWhileSeen() {
  if (document.hidden) {
    source?.close();
    source = null;
    showLive("", "not live");
  } else if (!source) {
    listen();
  }
}

// --- keys -------------------------------------------------------------------------------------------------------------

function step(by) {
  const rows = [...document.querySelectorAll("[data-row], .conversation h2 a, summary")].filter((row) => row.offsetParent);
  if (!rows.length) return;
  const at = rows.indexOf(document.activeElement);
  const next = at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, at + by));
  rows[next].focus();
  rows[next].scrollIntoView({ block: "nearest" });
}

function follow(selector) {
  document.querySelector(selector)?.click();
}

function search() {
  const field = document.getElementById("search");
  if (field) {
    field.focus();
    field.select();
  } else {
    follow("a[data-up]");
  }
}

const KEYS = {
  "/": search,
  j: () => step(1),
  k: () => step(-1),
  n: () => follow("a[rel=next]"),
  p: () => follow("a[rel=prev]"),
  t: nextTheme,
  "?": () => document.getElementById("help").showModal(),
  Escape: () => follow(".clear, .up a, .empty a[data-up]"),
};

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.getElementById("help").open) return;
  if (event.target.closest("input, select, textarea")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const act = KEYS[event.key];
  if (act) {
    event.preventDefault();
    act();
  }
}

// --- begin ------------------------------------------------------------------------------------------------------------

addEventListener("DOMContentLoaded", () => {
  localiseTimes(document);
  showTheme();
  for (const [id, act] of [["theme", nextTheme], ["help-button", KEYS["?"]]]) {
    const button = document.getElementById(id);
    button.hidden = false;
    button.addEventListener("click", act);
  }
  addEventListener("keydown", press);
  document.addEventListener("visibilitychange", listenWhileSeen);
  listenWhileSeen();
});
