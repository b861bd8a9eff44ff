// Folds of a run's course: begin, compaction, usage, error, end.

import { addNote, find, insert, patch } from "./messages.js";
import * as normalise from "./normalise.js";

function begun(state, data) {
  const queued = Boolean(data.queued) && state.run !== null;
  const next = {
    ...state,
    sessionId: data.sessionId ?? data.session_id ?? state.sessionId,
    outgoing: null,
    ...(queued ? {} : { run: { id: data.runId, status: "running" }, current: null }),
  };
  if (!data.message) return next;
  const told = withOwnImages(normalise.message(data.message), state.outgoing);
  const message = { ...told, runId: data.runId, queued };
  if (!find(next, message.id)) return insert(next, message);
  return patch(next, message.id, (item) => ({ ...item, queued }));
}

/** The log names images by address only; those that were just sent are still here. */
function withOwnImages(message, outgoing) {
  const own = [...(outgoing?.images ?? [])];
  if (own.length === 0) return message;
  const blocks = message.blocks.map((block) =>
    block.type === "image" && own.length > 0 ? { ...own.shift(), type: "image" } : block,
  );
  return { ...message, blocks };
}

function failed(state, data, frame) {
  const message = {
    id: `error_${frame.seq ?? state.lastSeq}`,
    type: "error",
    role: "assistant",
    text: data.message,
    code: data.code,
    retryable: data.retryable,
    timestamp: data.timestamp ?? null,
    runId: state.run?.id ?? null,
    toolCalls: [],
    blocks: [],
  };
  return { ...insert(state, message), current: null };
}

const ENDINGS = {
  max_turns: "Ended: the limit of model calls for one answer was reached.",
  loop_detected: "Ended: the same tool call kept repeating.",
  budget_exceeded: "Ended: the budget for this session is used up.",
  user_abort: "Stopped.",
  stopped: "The agent ended its work here.",
};

const close = (call) =>
  call.status === "running" ? { ...call, status: "error", error: "Interrupted" } : call;

function done(state, data, frame) {
  if (data.reason === "awaiting_confirmation") {
    return { ...state, run: state.run && { ...state.run, status: "waiting" } };
  }
  const told = ENDINGS[data.reason] ? addNote(state, ENDINGS[data.reason], frame) : state;
  const messages = told.messages.map((item) =>
    item.toolCalls.some((call) => call.status === "running") && item.runId === state.run?.id
      ? { ...item, toolCalls: item.toolCalls.map(close) }
      : item,
  );
  return {
    ...startQueued({ ...told, messages }),
    ...spent(state, data),
    current: null,
    interactions: [],
    journal: null,
  };
}

function startQueued(state) {
  const next = state.messages.find((item) => item.queued);
  if (!next) return { ...state, run: null };
  const run = { id: next.runId, status: "running" };
  return { ...patch(state, next.id, (item) => ({ ...item, queued: false })), run };
}

/** Sums for the footer; one unknown price makes the sum of the session unknown. */
function spent(state, data) {
  const usage = normalise.usage(data.usage);
  const costMicros = normalise.costMicros(data.cost);
  if (usage === null) return {};
  const before = state.total ?? { usage: { total: 0 }, costMicros: 0 };
  const known = costMicros != null && before.costMicros != null;
  const total = {
    usage: { total: before.usage.total + usage.total },
    costMicros: known ? before.costMicros + costMicros : null,
  };
  return { answer: { usage, costMicros }, total };
}

const busy = (state, activity) => ({ ...state, run: state.run && { ...state.run, activity } });

function compacted(state, data, frame) {
  const quiet = busy(state, null);
  const sizes = { tokensBefore: data.tokens_before, tokensAfter: data.tokens_after };
  if (!data.message) {
    return addNote(quiet, "The conversation was shortened.", frame, { sizes });
  }
  return { ...insert(quiet, { ...normalise.message(data.message), ...sizes }), current: null };
}

export const RUN_FOLDS = {
  init: begun,
  error: failed,
  done,
  compaction_start: (state) => busy(state, "Summarising the conversation so far"),
  compaction_end: compacted,
  context_usage: (state, data) => ({ ...state, context: data }),
  title_changed: (state, data) => ({ ...state, title: data.title }),
};
