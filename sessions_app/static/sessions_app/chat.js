// Entry of the chat page: joins the conversation, its views and the keys.

import * as api from "./api.js";
import { Composer } from "./composer.js";
import { Conversation } from "./conversation.js";
import { perFrame } from "./dom.js";
import { Drawer } from "./drawer.js";
import { followBus } from "./live.js";
import { Follower } from "./scroll.js";
import { addressOf, SessionList } from "./sessions.js";
import { announce, drawStatus } from "./status.js";
import { Transcript } from "./transcript.js";

const byId = (id) => document.getElementById(id);
const conversation = new Conversation();
const follower = new Follower();
const drawer = new Drawer();
let lastSent = null; // for "try again"

function send(text, images = []) {
  lastSent = { text, images };
  follower.toEnd();
  conversation.send(text, images);
}

/** The words of the last message of the person, also when it was sent before a reload. */
function lastWords() {
  const said = conversation.state.messages.findLast((message) => message.type === "user");
  return lastSent ?? { text: said?.text ?? "", images: [] };
}

/** A widget's action; resolves to why it was refused, or null. */
async function act(body) {
  const { sessionId } = conversation.state;
  try {
    await api.postWidgetAction({ sessionId, ...body });
    return null;
  } catch (error) {
    const missing = error.status === 404 || error.status === 400 || error.status === 405;
    return missing ? `This server does not take this action: ${error.message}` : error.message;
  }
}

/** The thumbs of the open session, by message; read once a session. */
let rated = { sessionId: null, all: null };
async function ratingOf(messageId) {
  const { sessionId } = conversation.state;
  if (rated.sessionId !== sessionId) {
    rated = { sessionId, all: api.listFeedback(sessionId).catch(() => ({ feedback: {} })) };
  }
  return (await rated.all).feedback[messageId] ?? null;
}

/** Resolves to why it was refused, or null. */
async function rate(thumb) {
  try {
    await api.rate({ sessionId: conversation.state.sessionId, ...thumb });
    return null;
  } catch (error) {
    return error.message;
  }
}

const page = {
  act,
  rate,
  ratingOf,
  send: (text) => (blocked() ? composer.say("Wait for the answer first.") : send(text)),
  retry: () => send(lastWords().text, lastWords().images),
  edit() {
    const { text, images } = conversation.state.outgoing;
    conversation.withdraw();
    composer.fill(text, images);
  },
  answer: (item, answer) => conversation.answer(item, answer),
};

/** A question may be answered in words; apart from that one run at a time. */
function blocked() {
  const { interactions } = conversation.state;
  const asked = interactions.some((item) => item.kind !== "confirmation");
  return (conversation.isLive || interactions.length > 0) && !asked;
}

const composer = new Composer({ send, stop: () => conversation.stop() });
const transcript = new Transcript(byId("transcript"), page);
const sessions = new SessionList({
  open: visit,
  gone: (id) => id === conversation.state.sessionId && startNew(),
  renamed: (id, title) => id === conversation.state.sessionId && conversation.retitle(title),
});

function visit(id) {
  drawer.close();
  if (id !== conversation.state.sessionId) {
    history.pushState(null, "", addressOf(id));
    openSession(id);
  }
  composer.focus();
}

function openSession(id) {
  lastSent = null;
  follower.toEnd();
  conversation.open(id);
}

function startNew() {
  drawer.close();
  lastSent = null;
  history.pushState(null, "", addressOf(null));
  conversation.startNew();
  composer.focus();
}

const draw = perFrame((state, view) => {
  const title = state.title || (state.sessionId === null ? "New conversation" : "Conversation");
  byId("title").textContent = title;
  document.title = `${state.run ? "… " : ""}${title}`;
  byId("welcome").hidden = state.messages.length > 0 || state.outgoing !== null || view.loading || view.failure !== null;
  transcript.update(state);
  byId("transcript").setAttribute("aria-busy", String(state.run !== null));
  composer.update({ live: conversation.isLive, blocked: blocked(), stopping: view.stopping });
  drawStatus(state, view);
  sessions.mark(state.sessionId, { title: state.title || null, status: statusOf(state) });
  follower.keep();
});

const statusOf = (state) => {
  if (state.interactions.length > 0) return "waiting";
  return state.run === null ? "active" : state.run.status;
};

conversation.listen((state, view, frame) => {
  draw(state, view);
  if (frame === null) return;
  announce(state, frame);
  if (frame.event === "init" && addressOf(state.sessionId) !== location.pathname + location.search) {
    history.replaceState(null, "", addressOf(state.sessionId));
  }
});

const sessionInAddress = () => new URLSearchParams(location.search).get("session");

addEventListener("popstate", () => {
  const id = sessionInAddress();
  if (id === null) conversation.startNew();
  else openSession(id);
});

addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || document.querySelector("dialog[open]")) return;
  if (drawer.isOpen) drawer.close();
  else conversation.stop();
});

byId("new-chat").addEventListener("click", startNew);
byId("suggestions")?.addEventListener("click", (event) => {
  const words = event.target.closest("button")?.textContent.trim();
  if (words) send(words);
});

sessions.refresh();
followBus({ onEvent: (event, data) => sessions.tell(event, data), onGap: () => sessions.refresh() });
if (sessionInAddress()) openSession(sessionInAddress());
else draw(conversation.state, conversation.view);
if (matchMedia("(hover: hover)").matches) composer.focus(); // no keyboard over a phone's page
