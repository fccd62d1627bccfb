// Talks to the server that sent the page, and to nobody else.

let session = null;
let beginning = null;

/** An answer of the server that is no success: `code` for programs, the message for people. */
export class Refused extends Error {
  constructor(status, code, reason, wait) {
    super(reason);
    Object.assign(this, { status, code, wait });
  }
}

export const about = () => ask("/api/about").then((answer) => answer.json());
export const json = (path) => asked(path).then((answer) => answer.json());
export const bytes = (path) => asked(path).then((answer) => answer.arrayBuffer());
export const post = (path, value) => asked(path, { method: "POST", body: JSON.stringify(value) });
export const remove = (path) => asked(path, { method: "DELETE" });
export const alive = () => (session ? asked("/api/alive", { method: "POST" }) : null);

/** Sends a photo; while the server is busy, waits as it says. */
export async function upload(file) {
  for (let tries = 0; ; tries++) {
    try {
      const answer = await asked(`/api/photos?name=${encodeURIComponent(file.name)}`, { method: "POST", body: file });
      return answer.json();
    } catch (error) {
      if (error.status !== 429 || tries === 20) throw error;
      await new Promise((done) => setTimeout(done, 1000 * (error.wait || 2)));
    }
  }
}

/** Forgets the session, such as one that the server has forgotten; the next request begins another. */
export function startOver() {
  session = beginning = null;
}

export function end() {
  if (session) navigator.sendBeacon("/api/end", session);
  startOver();
}

async function asked(path, options = {}) {
  if (!session) {
    beginning ??= ask("/api/sessions", { method: "POST" }).then((answer) => answer.json());
    try {
      session = (await beginning).session;
    } catch (error) {
      beginning = null;
      throw error;
    }
  }
  return ask(path, { ...options, headers: { "semcolor-session": session } });
}

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Refused(0, "gone", "The server does not answer. Is `semcolor serve` still running?");
  }
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  const wait = Number(answer.headers.get("retry-after"));
  throw new Refused(answer.status, told.error, told.reason || `The server answers ${answer.status}.`, wait);
}
