// One tool call as a line that unfolds: what was asked, what happens, what came back.

import { address as addressOf } from "./api.js";
import { arrange, h, icon } from "./dom.js";
import { duration, pretty, words } from "./format.js";
import { facts, show } from "./widgets/values.js";

const STATES = { running: "running", success: "done", error: "failed", denied: "denied" };

export class ToolCallView {
  #call = null;
  #touched = false; // the person opened or closed it: leave it so
  #opened = false;
  #mark = h("span", { class: "tool-mark" });
  #label = h("span", { class: "tool-label" });
  #hint = h("span", { class: "tool-hint" });
  #time = h("span", { class: "tool-time" });
  #body = h("div", { class: "tool-body" });
  #summary = h("summary", { onclick: () => (this.#touched = true) });

  constructor() {
    this.#summary.append(this.#mark, this.#label, this.#hint, this.#time, icon("chevron"));
    this.node = h("details", { class: "tool", ontoggle: () => this.#fill() }, this.#summary, this.#body);
  }

  update(call) {
    if (call === this.#call) return;
    this.#call = call;
    const running = call.status === "running";
    this.node.hidden = call.internal === true;
    this.node.dataset.status = call.status;
    this.#mark.replaceChildren(
      running ? h("span", { class: "spinner" }) : icon(call.status === "success" ? "check" : "alert"),
      h("span", { class: "sr" }, `${STATES[call.status] ?? call.status}: `),
    );
    const label = running ? call.runningLabel : call.completedLabel;
    this.#label.textContent = label ?? words(call.name);
    this.#hint.textContent = label ? call.name : glimpse(call.args);
    this.#time.textContent = call.durationMs === null ? "" : duration(call.durationMs);
    const watch = running && call.agents.length > 0;
    if (!this.#touched && watch !== this.#opened) {
      this.#opened = watch;
      this.node.open = watch; // sub-agents at work are worth seeing; afterwards it folds again
    }
    this.#fill();
  }

  /** The body is made only while it is open. */
  #fill() {
    if (!this.node.open) return;
    const call = this.#call;
    const parts = [section("Arguments", argumentsOf(call.args))];
    if (call.lines.length > 0) parts.push(section("Progress", h("ul", { class: "plain" }, call.lines.map(line))));
    for (const agent of call.agents) parts.push(section(agent.name, stepsOf(agent)));
    const outcome = outcomeOf(call);
    if (outcome) parts.push(section(call.status === "error" ? "Error" : "Result", outcome));
    arrange(this.#body, parts);
  }
}

const section = (title, content) =>
  h("section", {}, h("h4", {}, title), content);

function glimpse(args) {
  const values = Object.values(args).filter((value) => value !== null && typeof value !== "object");
  return values.join(", ").slice(0, 120);
}

function argumentsOf(args) {
  const pairs = Object.entries(args);
  if (pairs.length === 0) return h("p", { class: "quiet" }, "none");
  const long = pairs.some(([, value]) => typeof value === "object" || String(value).length > 200);
  return long ? pre(pretty(args)) : facts(pairs);
}

const pre = (text) => h("pre", { tabindex: "0" }, text);
const line = (content) => h("li", {}, typeof content === "object" ? show(content) : String(content));

function stepsOf(agent) {
  const items = agent.steps.map((step) => {
    if (step.kind === "tool") {
      return h(
        "li",
        { dataset: { status: step.status } },
        h("b", {}, words(step.name ?? "tool")),
        ` ${STATES[step.status]}`,
        step.result ? h("span", { class: "quiet" }, ` ${String(step.result).slice(0, 300)}`) : null,
      );
    }
    if (step.kind === "other") return h("li", {}, h("b", {}, words(step.name ?? "event")), show(step.data));
    return h("li", { dataset: { status: step.kind } }, step.text);
  });
  return h("ol", { class: "steps" }, items);
}

function outcomeOf(call) {
  const images = (call.content ?? []).filter((part) => part.type === "image");
  const text = call.error ?? call.result;
  if (images.length === 0) return text === null || text === "" ? null : pre(pretty(text));
  return h("div", {}, text ? pre(pretty(text)) : null, images.map(pictureOf));
}

/** A picture that came with the data or lies on this server; one from elsewhere is only named. */
export function pictureOf(part) {
  const source = part.source ?? part;
  const type = source.mimeType ?? source.mediaType ?? source.media_type ?? "image/png";
  const address = source.url ?? part.src ?? (part.isUrl ? source.data : null) ?? "";
  const inline = source.data && !part.isUrl && /^image\/(png|jpeg|gif|webp)$/.test(type);
  const src = inline ? `data:${type};base64,${source.data}` : ownImage(address);
  if (src) return h("img", { class: "picture", src, alt: part.alt ?? "Image" });
  if (!/^https?:/.test(address)) return h("p", { class: "quiet" }, "Image");
  return h("a", { href: address, target: "_blank", rel: "noopener noreferrer nofollow" }, `Image: ${address}`);
}

/** A picture of this server with the scope that its session belongs to; else null. */
function ownImage(address) {
  if (!/^\/(?!\/)/.test(address)) return null;
  return address.includes("?") ? address : addressOf(address);
}
