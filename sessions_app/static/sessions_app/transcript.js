// The conversation as a list. Only messages whose value changed are touched.

import { BlockList } from "./blocks.js";
import { arrange, button, copy, h, icon, iconButton } from "./dom.js";
import { clock, count, moment } from "./format.js";
import { markdown } from "./markdown.js";
import { InteractionList } from "./interactions.js";
import { Thumbs } from "./thumbs.js";
import { pictureOf } from "./toolcall.js";

const NAMES = { user: "You", assistant_text: "Assistant", summary: "Summary", error: "Error", note: "Note" };

class MessageView {
  #message = null;
  #body;

  constructor(message, page) {
    this.type = message.type;
    this.page = page;
    this.#body = new BlockList(message.type === "user" ? "user" : "assistant", page);
    this.node = h("li", { class: "message", dataset: { type: message.type } });
    if (message.type === "error" || message.type === "summary") return;
    const time = h("time", { datetime: message.timestamp ?? "", title: message.timestamp ? moment(message.timestamp) : "" }, clock(message.timestamp));
    const tool = iconButton("Copy message", "copy", { onclick: () => copy(this.#message.text, tool) });
    this.thumbs = message.type === "assistant_text" ? new Thumbs(page) : null;
    this.foot = h("div", { class: "message-foot" }, tool, this.thumbs?.node, time);
    this.node.append(h("h2", { class: "sr" }, NAMES[message.type] ?? "Assistant"), this.#body.node, this.foot);
  }

  update(message, writing) {
    this.node.classList.toggle("writing", writing);
    if (!writing && message.text !== "") this.thumbs?.update(message);
    if (message === this.#message) return;
    this.#message = message;
    this.node.dataset.queued = message.queued ? "yes" : "no";
    if (this.type === "error") return this.node.replaceChildren(failure(message, this.page));
    if (this.type === "summary") return this.node.replaceChildren(summary(message));
    this.#body.update(message);
    this.foot.hidden = message.text === "";
    return undefined;
  }
}

export function failure({ text, code, retryable }, page) {
  return h(
    "div",
    { class: "failure", role: "group", "aria-label": "Error" },
    icon("alert"),
    h("div", {}, h("p", {}, text), code ? h("p", { class: "quiet" }, `Code: ${code}`) : null),
    retryable === false ? null : button("Try again", { onclick: () => page.retry() }),
  );
}

function summary({ text, tokensBefore, tokensAfter }) {
  const sizes = tokensBefore ? ` (${count(tokensBefore)} → ${count(tokensAfter)} tokens)` : "";
  return h(
    "details",
    { class: "summary" },
    h("summary", {}, `Earlier conversation was summarised for the model${sizes}`),
    markdown(text),
  );
}

/** A message on its way, or one that the server refused. */
function outgoing({ text, images, error }, page) {
  const said = h(
    "li",
    { class: "message", dataset: { type: "user", sending: error ? "no" : "yes" } },
    h("h2", { class: "sr" }, "You"),
    h("div", { class: "blocks" }, images.map((image) => pictureOf(image)), text ? h("p", { class: "plain-text" }, text) : null),
  );
  if (!error) return [said];
  const actions = [
    button("Try again", { onclick: () => page.retry() }),
    button("Edit", { onclick: () => page.edit() }),
  ];
  const box = h(
    "div",
    { class: "failure", role: "alert" },
    icon("alert"),
    h("div", {}, h("p", {}, error.message), error.code ? h("p", { class: "quiet" }, `Code: ${error.code}`) : null),
    h("div", { class: "actions" }, actions),
  );
  return [said, h("li", { class: "message", dataset: { type: "error" } }, box)];
}

export class Transcript {
  #views = new Map();
  #sent = { value: null, nodes: [] };
  #working = h("li", { class: "message working" }, h("span", { class: "dots", "aria-hidden": "true" }, h("i"), h("i"), h("i")), h("span", {}, ""));

  constructor(list, page) {
    this.list = list;
    this.page = page;
    this.interactions = new InteractionList(page);
  }

  update(state) {
    const nodes = state.messages.map((message) => this.#view(message, state));
    const known = new Set(state.messages.map((message) => message.id));
    for (const id of this.#views.keys()) if (!known.has(id)) this.#views.delete(id);
    nodes.push(...this.interactions.update(state.interactions), ...this.#outgoing(state.outgoing));
    const activity = activityOf(state);
    if (activity !== null) {
      this.#working.lastElementChild.textContent = activity;
      nodes.push(this.#working);
    }
    arrange(this.list, nodes);
  }

  #view(message, state) {
    let view = this.#views.get(message.id);
    if (view?.type !== message.type) {
      view = new MessageView(message, this.page);
      this.#views.set(message.id, view);
    }
    view.update(message, message.id === state.current);
    return view.node;
  }

  #outgoing(value) {
    if (value !== this.#sent.value) {
      this.#sent = { value, nodes: value === null ? [] : outgoing(value, this.page) };
    }
    return this.#sent.nodes;
  }
}

/** What to say while nothing is being written; null when there is nothing to wait for. */
function activityOf(state) {
  if (state.outgoing && !state.outgoing.error) return "Sending";
  if (state.run === null || state.interactions.length > 0) return null;
  if (state.run.activity) return state.run.activity;
  const current = state.messages.find((message) => message.id === state.current);
  const busy = current?.toolCalls.some((call) => call.status === "running" && !call.internal);
  const last = current?.blocks.at(-1);
  return busy || last?.type === "text" ? null : "Thinking";
}
