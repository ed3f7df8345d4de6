// Sliders beside the fields they move: logarithmic, and each in step with what is typed.

import { format, parse } from "./numbers.js";

const STEPS = 1000;

/**
 * Keep every slider of a form and its field in step.
 * @param {HTMLFormElement} form
 */
export function joinSliders(form) {
  for (const slider of sliders(form)) {
    const field = fieldOf(form, slider);
    const counted = field.name === "hardware.count";
    if (counted) slider.step = String((STEPS * Math.log(Math.SQRT2)) / Math.log(ends(slider).high / ends(slider).low));
    slider.addEventListener("input", () => {
      const { low, high } = ends(slider);
      const value = low * (high / low) ** (Number(slider.value) / STEPS);
      field.value = counted ? String(even(value)) : format(value);
      slider.setAttribute("aria-valuetext", field.value);
      field.dispatchEvent(new Event("input", { bubbles: true }));
    });
    field.addEventListener("input", (event) => {
      if (event.isTrusted) place(slider, field.value);
    });
  }
}

/**
 * Put every slider where its field's text says.
 * @param {HTMLFormElement} form
 */
export function placeSliders(form) {
  for (const slider of sliders(form)) place(slider, fieldOf(form, slider).value);
}

/**
 * @param {HTMLFormElement} form
 * @returns {HTMLInputElement[]}
 */
function sliders(form) {
  return [.../** @type {NodeListOf<HTMLInputElement>} */ (form.querySelectorAll("input[type=range]"))];
}

/**
 * @param {HTMLFormElement} form
 * @param {HTMLInputElement} slider
 * @returns {HTMLInputElement}
 */
function fieldOf(form, slider) {
  return /** @type {HTMLInputElement} */ (form.elements.namedItem(String(slider.dataset.for)));
}

/**
 * @param {HTMLInputElement} slider
 * @returns {{low: number, high: number}}
 */
function ends(slider) {
  return { low: Number(slider.dataset.low), high: Number(slider.dataset.high) };
}

/**
 * @param {HTMLInputElement} slider
 * @param {string} text
 */
function place(slider, text) {
  const value = parse(text);
  const { low, high } = ends(slider);
  if (value > 0) slider.value = String(Math.round((STEPS * Math.log(value / low)) / Math.log(high / low)));
  slider.setAttribute("aria-valuetext", text);
}

/**
 * The nearest count of accelerators that a batch is easily shared by: a power of two, or half as much again.
 * @param {number} value
 * @returns {number}
 */
function even(value) {
  const power = 2 ** Math.floor(Math.log2(Math.max(value, 1)));
  const [nearest] = [power, 1.5 * power, 2 * power]
    .filter(Number.isInteger)
    .sort((one, other) => Math.abs(Math.log(one / value)) - Math.abs(Math.log(other / value)));
  return nearest;
}
