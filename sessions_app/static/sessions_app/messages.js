// Small pure edits of the message list that the folds share.

export const find = (state, id) => state.messages.find((message) => message.id === id);

export function patch(state, id, change) {
  const messages = state.messages.map((item) => (item.id === id ? change(item) : item));
  return { ...state, messages };
}

/** Add a message: before those that still wait in the queue, unless it is one of them. */
export function insert(state, message) {
  let at = state.messages.length;
  while (!message.queued && at > 0 && state.messages[at - 1].queued) at -= 1;
  return { ...state, messages: state.messages.toSpliced(at, 0, message) };
}

const settled = (message) =>
  message.toolCalls.length > 0 && message.toolCalls.every((call) => call.status !== "running");

/** One assistant message per model turn: a new one begins once all calls of the last have results. */
export function writing(state, data, frame) {
  const open = find(state, state.current);
  if (open && !settled(open)) return state;
  const message = {
    id: turnId(state, frame),
    type: "assistant_text",
    role: "assistant",
    text: "",
    timestamp: data.timestamp ?? null,
    runId: state.run?.id ?? null,
    toolCalls: [],
    blocks: [],
  };
  return { ...insert(state, message), current: message.id };
}

/** The id that the server gives a run's n-th answer; both sides can tell it. */
function turnId(state, frame) {
  if (!state.run?.id) return `turn_${frame.seq ?? state.lastSeq}`;
  const mine = (item) => item.type === "assistant_text" && item.runId === state.run.id;
  const place = state.messages.filter(mine).length + 1;
  return `msg_${state.run.id.replace(/^run_/, "")}_${place}`;
}

/** Append a block to the message being written, or show it by itself between messages. */
export function addBlock(state, block, frame) {
  if (find(state, state.current)) {
    return patch(state, state.current, (item) => ({ ...item, blocks: [...item.blocks, block] }));
  }
  const runId = state.run?.id ?? null;
  const id = `note_${frame.seq ?? state.lastSeq}`;
  return insert(state, { id, type: "note", text: "", toolCalls: [], blocks: [block], runId });
}

export const addNote = (state, text, frame, more = {}) =>
  addBlock(state, { type: "note", text, ...more }, frame);

/** Append streamed text to the last block when it is of that type, else open a new one. */
export function appendText(message, type, text) {
  const last = message.blocks.at(-1);
  if (last?.type !== type) return [...message.blocks, { type, text }];
  return [...message.blocks.slice(0, -1), { ...last, text: last.text + text }];
}
