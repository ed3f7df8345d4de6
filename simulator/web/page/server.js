// Questions to the server.

/**
 * The server's answer to a question; an Error with its words where it refuses.
 * @param {string} path
 * @param {object} body
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export function post(path, body, signal) {
  const headers = { "Content-Type": "application/json" };
  return answerOf(fetch(path, { method: "POST", headers, body: JSON.stringify(body), signal }));
}

/**
 * What is there, or what is left of it after a DELETE.
 * @param {string} path
 * @param {"GET" | "DELETE"} [method]
 * @returns {Promise<any>}
 */
export function get(path, method = "GET") {
  return answerOf(fetch(path, { method }));
}

/**
 * @param {Promise<Response>} asked
 * @returns {Promise<any>}
 */
async function answerOf(asked) {
  const answer = await asked;
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error?.message ?? `the server answered ${answer.status}`);
  return found;
}
