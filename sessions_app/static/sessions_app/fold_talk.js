// Folds of what is said: text, reasoning, widgets, notes, questions to the person.

import { addBlock, addNote, appendText, find, insert, patch, writing } from "./messages.js";
import * as normalise from "./normalise.js";

function text(state, data, frame) {
  const delta = data.delta ?? data.content ?? "";
  const open = writing(state, data, frame);
  return patch(open, open.current, (item) => ({
    ...item,
    text: item.text + delta,
    blocks: appendText(item, "text", delta),
  }));
}

function thinking(state, data, frame) {
  const open = writing(state, data, frame);
  return patch(open, open.current, (item) => ({
    ...item,
    blocks: appendText(item, "thinking", data.delta ?? ""),
  }));
}

function joined(state, data) {
  const known = find(state, data.message?.id);
  const asked = state.interactions.filter((item) => item.kind === "confirmation");
  const next = { ...state, interactions: asked, current: null, outgoing: null };
  return known || !data.message ? next : insert(next, normalise.message(data.message));
}

function removed(state, data) {
  const ids = new Set(data.messageIds ?? []);
  const gone = (item) => ids.has(item.id) || (data.runId != null && item.runId === data.runId);
  return { ...state, messages: state.messages.filter((item) => !gone(item)), current: null };
}

const ask = (kind) => (state, data) => {
  const item = normalise.interaction(data, kind);
  const others = state.interactions.filter((other) => other.id !== item.id);
  return { ...state, interactions: [...others, item] };
};

const decided = (verb) => (state, data, frame) => {
  const id = data.interactionId ?? data.correlation_id;
  const asked = state.interactions.find((item) => item.id === id);
  const question = asked !== undefined && asked.kind !== "confirmation";
  const open = state.interactions.filter((item) => item.id !== id);
  const run = state.run && { ...state.run, status: "running" };
  const told = question ? "Question answered" : `${verb}: ${data.action}`;
  return addNote({ ...state, interactions: open, run }, told, frame);
};

const PLAN = { enter: "Plan mode: changes wait for approval", approve: "Plan approved", exit: "Plan mode ended" };

export const TALK_FOLDS = {
  text_delta: text,
  thinking_delta: thinking,
  user_message: joined,
  messages_removed: removed,
  confirmation_required: ask("confirmation"),
  ask_user: ask("ask_user"),
  ask_choice: ask("ask_choice"),
  approved: decided("Approved"),
  denied: decided("Denied"),
  widget: (state, data, frame) => addBlock(state, normalise.widgetBlock(data), frame),
  kb_proposal: (state, data, frame) =>
    addBlock(state, { type: "proposal", proposal: data.proposal ?? data }, frame),
  notice: (state, data, frame) => addNote(state, data.message, frame, { level: data.level }),
  skill_activated: (state, data, frame) =>
    addNote(state, `Skill in use: ${data.skill ?? data.skill_name}`, frame),
  credential_saved: (state, data, frame) =>
    addNote(state, `Credentials saved for ${data.connection ?? data.connection_name}`, frame),
  provider_switched: (state, data, frame) =>
    addNote(state, `Answered by ${data.to} instead of ${data.from} (${data.reason})`, frame),
  field_scrub: (state, data, frame) =>
    addNote(state, `${data.stripped_count} field(s) withheld from ${data.connection}`, frame),
  plan_mode: (state, data, frame) =>
    addNote(state, PLAN[data.action] ?? `Plan mode: ${data.action}`, frame, { detail: data.plan }),
};
