// The server's routes as functions. Answers are parsed JSON; refusals are `ApiError`s.

const config = JSON.parse(document.getElementById("chat-config")?.textContent ?? "{}");

export class ApiError extends Error {
  constructor(status, body) {
    super(body?.error?.message ?? `The server answered ${status}.`);
    this.status = status;
    this.code = body?.error?.code ?? `http_${status}`;
    this.details = body?.error?.details ?? null;
    this.body = body;
  }
}

/** Raised when no answer came at all: the server may or may not have seen the request. */
class Unreachable extends Error {
  constructor() {
    super("The server cannot be reached.");
    this.code = "unreachable";
  }
}

export function address(path, query = {}) {
  const scope = config.scopeId ? { scope_id: config.scopeId } : {};
  const pairs = Object.entries({ ...scope, ...query }).filter(([, value]) => value != null);
  const text = new URLSearchParams(pairs).toString();
  return (config.apiBase ?? "") + path + (text && `?${text}`);
}

/** The response itself, its status checked. Aborting `signal` rejects with an AbortError. */
export async function request(method, path, { query, body, headers = {}, signal } = {}) {
  let response;
  try {
    response = await fetch(address(path, query), {
      method,
      headers: { Accept: "application/json", ...(body && JSON_TYPE), ...FORM_TOKEN, ...headers },
      body: body && JSON.stringify(body),
      signal,
      cache: "no-store",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Unreachable();
  }
  if (response.ok) return response;
  throw new ApiError(response.status, await response.json().catch(() => null));
}

// Only for signed-in staff: their cookie alone changes nothing.
const FORM_TOKEN = config.csrfToken ? { "X-CSRFToken": config.csrfToken } : {};
const JSON_TYPE = { "Content-Type": "application/json" };

async function json(method, path, options) {
  const response = await request(method, path, options);
  return response.status === 204 ? {} : response.json();
}

const at = (id) => `/sessions/${encodeURIComponent(id)}`;

export const listSessions = (query, signal) => json("GET", "/sessions", { query, signal });
export const readSession = (id, signal) => json("GET", at(id), { signal });
export const readState = (id, since, signal) =>
  json("GET", `${at(id)}/state`, { query: { since }, signal });
export const renameSession = (id, title) => json("PATCH", at(id), { body: { title } });
export const deleteSession = (id) => json("DELETE", at(id));
export const interrupt = (id) => json("POST", `${at(id)}/interrupt`, { body: {} });
export const answerInteraction = (body) => json("POST", "/ask-user-response", { body });
export const listFeedback = (sessionId) => json("GET", "/api/feedback", { query: { sessionId } });
export const rate = (body) => json("POST", "/api/feedback", { body });
export const postWidgetAction = (body) => json("POST", "/widget-actions", { body });

/** Start a run; the body of the response is its event stream. `key` makes a repeat harmless. */
export function startRun(body, key, signal) {
  const scoped = config.scopeId ? { ...body, scope_id: config.scopeId } : body;
  const headers = { Accept: "text/event-stream", "Idempotency-Key": key };
  return request("POST", "/chat/stream", { body: scoped, headers, signal });
}

/** Follow what changes in the scope, behind event `after` or from now on. */
export function openBus(after, signal) {
  const resume = after === null ? {} : { "Last-Event-ID": String(after) };
  return request("GET", "/api/events", { headers: { Accept: "text/event-stream", ...resume }, signal });
}

/** Follow a session's log behind `after`. */
export function openEvents(id, after, signal) {
  const headers = { Accept: "text/event-stream", "Last-Event-ID": String(after) };
  return request("GET", `${at(id)}/events`, { query: { after }, headers, signal });
}
