// Pictures: specifications of the server, drawn by Vega as SVG whose colours follow the page.

/** @typedef {Record<string, object>} Pictures */

let drawing = 0;

/** Widths of the columns that pictures stand in, px. @returns {{half_px: number, whole_px: number}} */
export function widths() {
  const room = /** @type {HTMLElement} */ (document.querySelector("#figures")).clientWidth;
  const style = getComputedStyle(/** @type {HTMLElement} */ (document.querySelector("#figures")));
  const whole = Math.floor(room - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight));
  const columns = window.matchMedia("(max-width: 760px)").matches ? 1 : 2;
  const half = columns === 1 ? whole : Math.floor((whole - 40) / 2);
  return { half_px: within(half), whole_px: within(whole) };
}

/**
 * @param {number} px
 * @returns {number}
 */
function within(px) {
  return Math.min(Math.max(px, 200), 2400);
}

/**
 * Draw every picture into its place.
 * @param {Pictures} pictures
 * @returns {Promise<void>}
 */
export async function draw(pictures) {
  drawing += 1;
  const turn = drawing;
  await Promise.all(Object.entries(pictures).map(([name, spec]) => drawOne(name, spec, turn)));
}

/**
 * @param {string} name
 * @param {object} spec
 * @param {number} turn a drawing that is overtaken by the next isn't shown
 * @returns {Promise<void>}
 */
async function drawOne(name, spec, turn) {
  const place = document.querySelector(`[data-picture="${CSS.escape(name)}"]`);
  if (!place) return;
  const fresh = document.createElement("div");
  // `ast`: expressions are interpreted, so that no text is ever run as a script
  const view = await /** @type {any} */ (globalThis).vegaEmbed(fresh, spec, {
    mode: "vega-lite", renderer: "svg", ast: true, actions: false, defaultStyle: false, tooltip: false, hover: false,
  });
  if (turn !== drawing) {
    view.finalize();
    return;
  }
  const title = document.getElementById(`${name}-title`);
  const svg = fresh.querySelector("svg");
  if (svg && title) {
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", title.textContent ?? "");
  }
  const old = /** @type {any} */ (place).view;
  place.replaceChildren(fresh);
  /** @type {any} */ (place).view = view;
  old?.finalize();
}

/**
 * Put the drawings that are there into the places of new markup, so that nothing blinks until they are drawn anew.
 * @param {Element} from
 * @param {Element} to
 */
export function keepDrawings(from, to) {
  for (const place of from.querySelectorAll("[data-picture]")) {
    const next = to.querySelector(`[data-picture="${CSS.escape(String(/** @type {HTMLElement} */ (place).dataset.picture))}"]`);
    if (!next) continue;
    next.replaceChildren(...place.childNodes);
    /** @type {any} */ (next).view = /** @type {any} */ (place).view;
  }
}
