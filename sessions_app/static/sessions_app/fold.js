// The page's state as a pure function of the session's log: `fold(state, frame) -> state`.
// A frame is {seq, event, data}. Law: a frame is counted once (by seq); values are never changed
// in place, so the renderer may compare them by identity.

import { TOOL_FOLDS } from "./fold_tools.js";
import { RUN_FOLDS } from "./fold_runs.js";
import { TALK_FOLDS } from "./fold_talk.js";
import * as normalise from "./normalise.js";

const FOLDS = { ...TALK_FOLDS, ...TOOL_FOLDS, ...RUN_FOLDS };

export function emptyState(sessionId = null) {
  return {
    sessionId,
    title: "",
    status: "active",
    messages: [],
    interactions: [],
    lastSeq: sessionId === null ? 0 : null, // null: the server did not say where its log ends
    run: null, // {id, status: running|waiting, activity, thinking}
    current: null, // id of the assistant message that is being written
    outgoing: null, // a message on its way to the server: {text, images, error}
    context: null,
    answer: null, // {usage, costMicros} of the last answer
    total: null, // the same of the session
    journal: null, // frames of the live run, so that `run_resumed` can discard some
    stale: false, // the log asks for frames that are not here: load the session again
  };
}

/** State of a stored session, from `GET /sessions/{id}`. */
export function fromSession(body) {
  const session = body.session ?? body;
  const tokens = normalise.usage(session.token_usage);
  return {
    ...emptyState(session.id),
    title: session.title ?? "",
    status: session.status ?? "active",
    messages: (body.messages ?? []).map(normalise.message),
    interactions: (body.pendingInteractions ?? []).map((raw) => normalise.interaction(raw)),
    lastSeq: session.lastSeq ?? session.last_seq ?? null,
    total: tokens && { usage: tokens, costMicros: normalise.costMicros(session.cost) },
  };
}

/** A stored session joined in the middle of a run: everything before the run, then its frames. */
export function fromLiveSession(body, frames) {
  const stored = fromSession(body);
  const start = frames.findLastIndex((frame) => frame.event === "init" && !frame.data.queued);
  if (start < 0) return { ...stored, lastSeq: frames.at(-1)?.seq ?? stored.lastSeq };
  const opening = frames[start].data.message?.id;
  const cut = stored.messages.findIndex((item) => item.id === opening);
  const before = cut < 0 ? stored.messages : stored.messages.slice(0, cut);
  const base = { ...stored, messages: before, interactions: [], lastSeq: frames[start].seq - 1 };
  return frames.slice(start).reduce(fold, base);
}

export function fold(state, frame) {
  if (frame.seq != null && frame.seq <= (state.lastSeq ?? 0)) return state;
  if (frame.event === "run_resumed") return resume(state, frame);
  const recorded = record(state, frame);
  const next = (FOLDS[frame.event] ?? same)(recorded, frame.data, frame);
  return frame.seq == null ? next : { ...next, lastSeq: frame.seq };
}

const same = (state) => state;

function record(state, frame) {
  if (frame.seq == null) return state;
  if (frame.event === "init" && !frame.data.queued) {
    const base = { ...state, journal: null };
    return { ...state, journal: { base, runId: frame.data.runId, tail: { frame, before: null } } };
  }
  if (state.journal === null) return state;
  return { ...state, journal: { ...state.journal, tail: { frame, before: state.journal.tail } } };
}

/** A new attempt: frames of this run above `discardFrom` were lost with the old one. */
function resume(state, frame) {
  if (state.journal === null) return { ...state, stale: true, lastSeq: frame.seq };
  const { base, runId, tail } = state.journal;
  const kept = [];
  for (let link = tail; link !== null; link = link.before) {
    const foreign = link.frame.data.runId && link.frame.data.runId !== runId;
    if (foreign || link.frame.seq <= frame.data.discardFrom) kept.unshift(link.frame);
  }
  return { ...kept.reduce(fold, base), lastSeq: frame.seq };
}
