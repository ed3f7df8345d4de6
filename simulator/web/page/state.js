// The page's state is its form, and the form is the address: what differs from the plan it starts from, and the baseline.

const BASE = "base.";

/**
 * The address that holds what the form says; a field that says what the plan says anyway is left out.
 * @param {HTMLFormElement} form
 * @returns {URLSearchParams}
 */
export function read(form) {
  const found = new URLSearchParams();
  for (const element of form.elements) {
    const field = /** @type {HTMLInputElement | HTMLSelectElement} */ (element);
    if (!field.name) continue;
    if (field.dataset.start === undefined || field.value.trim() !== field.dataset.start) found.set(field.name, field.value.trim());
  }
  return found;
}

/**
 * Make the plan the baseline.
 * @param {HTMLFormElement} form
 */
export function pin(form) {
  const holder = /** @type {HTMLElement} */ (form.querySelector("#pinned"));
  const own = [...read(form)].filter(([key]) => !key.startsWith(BASE));
  holder.replaceChildren(
    ...own.map(([key, value]) => Object.assign(document.createElement("input"), { type: "hidden", name: BASE + key, value })),
  );
}

/**
 * Take every change back.
 * @param {HTMLFormElement} form
 */
export function reset(form) {
  for (const element of form.elements) {
    const field = /** @type {HTMLInputElement} */ (element);
    if (field.name && field.dataset.start !== undefined) field.value = field.dataset.start;
  }
}
