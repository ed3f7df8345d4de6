// The page: a change in the form asks the server, whose answer replaces the numbers and the pictures.

import { search } from "./better.js";
import { draw, keepDrawings, widths } from "./pictures.js";
import { joinSliders, placeSliders } from "./sliders.js";
import { post } from "./server.js";
import { pin, read, reset } from "./state.js";

/** @typedef {{answer: string, figures: string, title: string, dock: [string, string, string][], notes: Record<string, string>, pictures: Record<string, object>}} Answer */

const WAIT_MS = 16;
const form = /** @type {HTMLFormElement} */ (document.getElementById("plan"));
const problem = /** @type {HTMLElement} */ (document.getElementById("problem"));
let waiting = 0;
let asked = new AbortController();

/** Ask for what the form says now, unless it changes again at once. */
function changed() {
  clearTimeout(waiting);
  waiting = window.setTimeout(ask, WAIT_MS);
}

/** Ask, and show the answer; one that is overtaken by another change is dropped. */
async function ask() {
  asked.abort();
  asked = new AbortController();
  const query = read(form).toString();
  history.replaceState(null, "", `?${query}`);
  for (const link of document.querySelectorAll("[data-download]")) {
    const to = /** @type {HTMLAnchorElement} */ (link);
    to.href = `/page/${to.dataset.download}?${query}`;
  }
  try {
    show(await post("/page/answer", { query, ...widths() }, asked.signal));
  } catch (error) {
    if (!asked.signal.aborted) tell(String(/** @type {Error} */ (error).message));
  }
}

/** @param {Answer} found */
function show(found) {
  tell("");
  document.title = `${found.title} · foretrain`;
  replace("answer", found.answer);
  replace("figures", found.figures);
  for (const [key, text] of Object.entries(found.notes)) {
    const note = document.getElementById(`${key}-note`);
    if (note) note.textContent = text;
  }
  const dock = /** @type {HTMLElement} */ (document.getElementById("dock"));
  dock.replaceChildren(...found.dock.map(([value, unit, label]) => {
    const span = document.createElement("span");
    const bold = document.createElement("b");
    bold.textContent = unit ? `${value} ${unit[0]}` : value;
    span.append(bold, label.split(",")[0]);
    return span;
  }));
  const count = String(Number(document.body.dataset.shown ?? 0) + 1);
  document.body.dataset.shown = count;
  return draw(found.pictures).then(() => {
    if (document.body.dataset.shown === count) document.body.dataset.drawn = count;
  });
}

/**
 * Put new markup, which the server has escaped, into a part of the page.
 * @param {string} id
 * @param {string} markup
 */
function replace(id, markup) {
  const part = /** @type {HTMLElement} */ (document.getElementById(id));
  const fresh = document.createElement("template");
  fresh.innerHTML = markup;
  keepDrawings(part, /** @type {any} */ (fresh.content));
  const open = [...part.querySelectorAll("details[open]")].map((one) => one.closest("figure")?.id);
  for (const figure of open) fresh.content.querySelector(`#${CSS.escape(figure ?? "none")} details`)?.setAttribute("open", "");
  part.replaceChildren(fresh.content);
  part.classList.remove("waiting");
}

/**
 * Say what is wrong; what was shown stays, dimmed.
 * @param {string} text
 */
function tell(text) {
  problem.hidden = !text;
  problem.textContent = text;
  for (const id of ["answer", "figures"]) document.getElementById(id)?.classList.toggle("waiting", Boolean(text));
}

/** @param {string} theme */
function paint(theme) {
  document.documentElement.dataset.theme = theme;
}

document.documentElement.classList.add("script");
joinSliders(form);
form.addEventListener("input", changed);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  changed();
});
window.addEventListener("resize", changed);
document.addEventListener("click", (event) => {
  const target = /** @type {HTMLElement} */ (event.target);
  if (target.id === "pin") {
    pin(form);
    ask();
  } else if (target.id === "reset") {
    reset(form);
    placeSliders(form);
    ask();
  } else if (target.id === "copy") {
    navigator.clipboard?.writeText(location.href).then(() => {
      target.textContent = "Copied";
      window.setTimeout(() => (target.textContent = "Copy link"), 1500);
    });
  } else if (target.id === "theme") {
    const dark = document.documentElement.dataset.theme
      ? document.documentElement.dataset.theme === "dark"
      : window.matchMedia("(prefers-color-scheme: dark)").matches;
    paint(dark ? "light" : "dark");
  }
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(target)) menu.removeAttribute("open");
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details.menu[open]")) menu.removeAttribute("open");
});
const from = /** @type {HTMLSelectElement} */ (document.getElementById("from"));
from.addEventListener("change", () => {
  if (from.value) location.assign(`/?from=${encodeURIComponent(from.value)}`);
});
const file = /** @type {HTMLInputElement} */ (document.getElementById("file"));
file.addEventListener("change", async () => {
  const said = /** @type {HTMLElement} */ (document.getElementById("file-problem"));
  said.textContent = "";
  try {
    const text = await /** @type {FileList} */ (file.files)[0].text();
    location.assign(`/?${(await post("/page/start", { text })).query}`);
  } catch (error) {
    said.textContent = String(/** @type {Error} */ (error).message);
  }
});
search(form, () => {
  placeSliders(form);
  ask();
});
ask();
