// A search for better plans: a job of the server, whose named plans become buttons.

import { format } from "./numbers.js";
import { get, post } from "./server.js";
import { read } from "./state.js";

/** @typedef {{title: string, plan: string, sentence: string, condition: string | null, values: Record<string, number | string>, config: any}} Alternative */

const ASK_AGAIN_MS = 700;
/** What is written in full: rounded, a batch couldn't be shared evenly by the accelerators. */
const EXACT = new Set(["optim.batch_tokens", "hardware.count"]);

/**
 * Make the search's buttons work.
 * @param {HTMLFormElement} form
 * @param {() => void} taken called when a plan was put into the form
 */
export function search(form, taken) {
  const [start, searching, share, cancel, said, tries] = /** @type {HTMLElement[]} */ (
    ["search", "searching", "share", "cancel", "said", "tries"].map((id) => document.getElementById(id))
  );
  let job = "";

  start.addEventListener("click", async () => {
    start.hidden = true;
    searching.hidden = false;
    said.textContent = "Searching…";
    try {
      const { study, trials } = await post("/page/better", { query: read(form).toString() });
      ({ id: job } = await post("/api/v1/optimize", { study, trials }));
      const found = await ended(job, (part, text) => {
        /** @type {HTMLProgressElement} */ (share).value = part;
        said.textContent = text;
      });
      tell(found);
    } catch (error) {
      said.textContent = String(/** @type {Error} */ (error).message);
    }
    start.hidden = false;
    searching.hidden = true;
  });
  cancel.addEventListener("click", () => job && get(`/api/v1/jobs/${job}`, "DELETE"));

  /** @param {any} found the job, over */
  function tell(found) {
    if (found.state !== "done") {
      said.textContent = found.error?.message ?? "Cancelled.";
      return;
    }
    const alternatives = /** @type {Alternative[]} */ (found.result.alternatives);
    said.textContent = alternatives.length
      ? `${found.result.trials.complete} plans tried, against the plan as it was:`
      : `${found.result.trials.complete} plans tried, and none is better.`;
    tries.replaceChildren(...alternatives.map(button));
  }

  /**
   * @param {Alternative} one
   * @returns {HTMLButtonElement}
   */
  function button(one) {
    const made = document.createElement("button");
    made.type = "button";
    const name = document.createElement("b");
    name.textContent = one.plan;
    const why = document.createElement("span");
    // the plan's name stands above, and needn't begin its sentence again
    why.textContent = `${one.title}: ${one.condition ?? one.sentence.replace(one.plan, "").replace(/^:? /, "")}`;
    made.append(name, why);
    made.addEventListener("click", () => {
      for (const [key, tried] of Object.entries(one.values)) {
        const field = /** @type {HTMLInputElement | null} */ (form.elements.namedItem(key));
        const value = EXACT.has(key) ? inConfig(one.config, key) ?? tried : tried;
        if (!field) continue;
        // the size that the plan came to, not the one that the search asked a shape for
        if (key === "model.params") field.value = one.plan.split(" ")[0];
        else field.value = typeof value === "number" && !EXACT.has(key) ? format(value) : String(value);
      }
      taken();
    });
    return made;
  }
}

/**
 * What a plan states under a key, undefined where it states nothing.
 * @param {any} config
 * @param {string} key
 * @returns {number | string | undefined}
 */
function inConfig(config, key) {
  return key.split(".").reduce((at, part) => at?.[part], config);
}

/**
 * The job when it is over, however it ended.
 * @param {string} id
 * @param {(share: number, text: string) => void} progress
 * @returns {Promise<any>}
 */
async function ended(id, progress) {
  for (;;) {
    const job = await get(`/api/v1/jobs/${id}`);
    if (!["waiting", "running"].includes(job.state)) return job;
    progress(job.progress.share, job.state === "waiting" ? "Waiting for another search…" : `${job.progress.text}…`);
    await new Promise((done) => window.setTimeout(done, ASK_AGAIN_MS));
  }
}
