// Server-sent events over fetch, and patience: a lost connection is repaired, never reported as
// a failed answer.

import { ApiError } from "./api.js";

const SILENCE = 45_000; // the server sends a comment every 15 s
const LONGEST_WAIT = 15_000;
const LASTED = 30_000; // servers end streams now and then: one that lasted was no failure

/** Frames `{seq, event, data}` of one response body, until it ends or is cut. */
export async function* readFrames(response, signal) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    while (true) {
      const { done, value } = await withLimit(reader.read(), signal);
      if (done) return;
      const parts = (rest + value).replaceAll("\r\n", "\n").split("\n\n");
      rest = parts.pop();
      for (const part of parts) {
        const frame = parseFrame(part);
        if (frame) yield frame;
      }
    }
  } finally {
    reader.cancel().catch(() => {}); // the connection may be gone already
  }
}

function parseFrame(text) {
  const fields = { id: null, event: "message", data: null };
  for (const line of text.split("\n")) {
    const colon = line.indexOf(":");
    if (colon <= 0) continue; // comments keep the line alive
    const name = line.slice(0, colon);
    const value = line.slice(colon + 1).replace(/^ /, "");
    fields[name] = name === "data" && fields.data !== null ? `${fields.data}\n${value}` : value;
  }
  if (fields.data === null) return null;
  const seq = fields.id === null ? null : Number(fields.id);
  return { seq, event: fields.event, data: JSON.parse(fields.data) };
}

function withLimit(reading, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("silent connection")), SILENCE);
    const stop = () => reject(new DOMException("aborted", "AbortError"));
    signal.addEventListener("abort", stop, { once: true });
    reading.then(resolve, reject).finally(() => {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
    });
  });
}

/** Whether asking again makes sense: no answer at all, or a server that is starting or busy. */
function isPassing(error) {
  return !(error instanceof ApiError) || error.status === 429 || error.status >= 500;
}

/**
 * Call `open(signal)` for a response and feed its frames to `onFrame`, again and again, until
 * `isOver()` or an abort. `onWait(milliseconds | null)` tells of a lost and of a regained
 * connection. Rejects only with a refusal that waiting will not change.
 */
export async function keepReading({ open, onFrame, onWait, isOver, signal }) {
  let failures = 0;
  while (!signal.aborted && !isOver()) {
    let opened = Infinity;
    try {
      const response = await open(signal);
      onWait(null);
      opened = performance.now();
      for await (const frame of readFrames(response, signal)) {
        failures = 0;
        onFrame(frame);
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!isPassing(error)) throw error;
    }
    if (signal.aborted || isOver()) return;
    if (performance.now() - opened >= LASTED) failures = 0;
    const wait = Math.min(LONGEST_WAIT, 250 * 2 ** failures) * (0.75 + Math.random() / 2);
    failures += 1;
    if (failures > 1) onWait(wait);
    await pause(wait, signal);
  }
}

/** Wait, but no longer than until the browser is online again or `signal` aborts. */
function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const finish = () => {
      clearTimeout(timer);
      removeEventListener("online", finish);
      resolve();
    };
    const timer = setTimeout(finish, milliseconds);
    addEventListener("online", finish, { once: true });
    signal.addEventListener("abort", finish, { once: true });
  });
}
