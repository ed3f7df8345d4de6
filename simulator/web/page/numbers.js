// Numbers as the fields hold them: "757B", "4M", "2.5".

const SCALES = { "": 1, k: 1e3, m: 1e6, b: 1e9, t: 1e12 };

/**
 * The number that a field's text says, NaN where it says none.
 * @param {string} text
 * @returns {number}
 */
export function parse(text) {
  const found = /^\s*([0-9]*\.?[0-9]+(?:e[-+]?[0-9]+)?)\s*([kmbt]?)\s*$/i.exec(text.replaceAll(",", ""));
  return found ? Number(found[1]) * SCALES[/** @type {keyof SCALES} */ (found[2].toLowerCase())] : NaN;
}

/**
 * A number as a field's text, with three digits and a suffix.
 * @param {number} value
 * @returns {string}
 */
export function format(value) {
  for (const [suffix, scale] of /** @type {[string, number][]} */ ([["T", 1e12], ["B", 1e9], ["M", 1e6], ["k", 1e4]])) {
    if (value >= scale) return String(Number((value / (suffix === "k" ? 1e3 : scale)).toPrecision(3))) + suffix;
  }
  return String(Number(value.toPrecision(value >= 100 ? 4 : 3)));
}
