// Questions to the person: confirm an action, answer questions, choose. Answered questions go
// away when the log says so, not before; a second answer is refused by the server.

import { button, h } from "./dom.js";
import { words } from "./format.js";
import { facts, show } from "./widgets/values.js";

export class InteractionList {
  #views = new Map();

  constructor(page) {
    this.page = page;
  }

  update(items) {
    const known = new Set(items.map((item) => item.id));
    for (const id of this.#views.keys()) if (!known.has(id)) this.#views.delete(id);
    return items.map((item) => {
      if (!this.#views.has(item.id)) this.#views.set(item.id, card(item, this.page));
      return this.#views.get(item.id);
    });
  }
}

function card(item, page) {
  const said = h("p", { class: "said", role: "status" });
  const box = h("fieldset", { class: "question" });
  const send = async (answer) => {
    box.disabled = true;
    said.textContent = "Sending your answer…";
    const refusal = await page.answer(item, answer);
    said.textContent = refusal ?? "Answer sent.";
    box.disabled = refusal === null;
  };
  const draw = { confirmation, ask_user: questions, ask_choice: choice }[item.kind] ?? confirmation;
  box.append(...draw(item, send).filter((node) => node !== null));
  return h("li", { class: "message", dataset: { type: "interaction" } }, box, said);
}

function confirmation(item, send) {
  const comment = h("input", { type: "text", maxlength: "1000" });
  const decide = (approved) => () =>
    send({ approved, ...(comment.value.trim() && { comment: comment.value.trim() }) });
  const call = item.endpoint ? `${item.method ?? ""} ${item.endpoint}`.trim() : null;
  const where = [
    ["Connection", item.connection_name ?? item.connection],
    ["Reason", item.reason],
  ].filter(([, value]) => value != null);
  return [
    h("legend", {}, `Allow “${words(item.action ?? item.tool ?? "this action")}”?`),
    item.escalated ? h("p", { class: "badge", dataset: { tone: "warn" } }, "Needs a closer look") : null,
    call === null ? null : h("p", {}, h("code", {}, call)),
    facts(where),
    payload("Details", item.details),
    payload("Parameters", item.params),
    h("label", { class: "comment" }, h("span", {}, "Comment (optional)"), comment),
    h(
      "div",
      { class: "actions" },
      button("Approve", { class: "button primary", onclick: decide(true) }),
      button("Deny", { onclick: decide(false) }),
    ),
  ];
}

function payload(title, value) {
  if (value == null || (typeof value === "object" && Object.keys(value).length === 0)) return null;
  return h("div", { class: "payload" }, h("p", { class: "label" }, title), show(value));
}

function choice(item, send) {
  const options = (item.options ?? []).map(asOption);
  if (!item.multi) {
    const pick = ({ label, value, description }) =>
      h(
        "button",
        { type: "button", class: "option", onclick: () => send({ answers: { answer: value } }) },
        h("b", {}, label),
        description ? h("span", { class: "quiet" }, description) : null,
      );
    return [h("legend", {}, item.question ?? "Please choose"), h("div", { class: "options" }, options.map(pick))];
  }
  const { node, read } = picker("choice", options, true);
  const submit = () => send({ answers: { answer: read() } });
  return [h("legend", {}, item.question ?? "Please choose"), node, submitRow(submit)];
}

const submitRow = (submit) =>
  h("div", { class: "actions" }, button("Send answer", { class: "button primary", onclick: submit }));

function asOption(raw) {
  if (raw === null || typeof raw !== "object") return { label: String(raw), value: raw };
  return { label: raw.label ?? String(raw.value), value: raw.value ?? raw.label, description: raw.description };
}

function questions(item, send) {
  const asked = (item.questions ?? []).map((question, at) => {
    const name = question.id ?? question.question ?? question.header ?? `question_${at + 1}`;
    return { name, ...oneQuestion(question, `${item.id}_${at}`) };
  });
  const submit = () => send({ answers: Object.fromEntries(asked.map(({ name, read }) => [name, read()])) });
  return [
    h("legend", {}, asked.length === 1 ? "A question for you" : "Some questions for you"),
    h("div", { class: "fields" }, asked.map(({ node }) => node)),
    submitRow(submit),
  ];
}

function oneQuestion(question, group) {
  const yesNo = question.type === "yesno" ? ["Yes", "No"] : null;
  const options = (question.options ?? yesNo ?? []).map(asOption);
  const title = question.question ?? question.header ?? "Your answer";
  if (options.length === 0) {
    const input = h("textarea", { rows: "2", placeholder: question.placeholder ?? null });
    return { node: h("label", {}, h("span", {}, title), input), read: () => input.value };
  }
  const { node, read } = picker(group, options, Boolean(question.multiSelect));
  return { node: h("div", { role: "group", "aria-label": title }, h("p", {}, title), node), read };
}

/** Radio buttons or check boxes; `read` gives the value, or the list of values. */
function picker(group, options, many) {
  const inputs = options.map(() => h("input", { type: many ? "checkbox" : "radio", name: group }));
  const rows = options.map(({ label, description }, at) =>
    h("label", { class: "pick" }, inputs[at], h("span", {}, label, description ? h("span", { class: "quiet" }, ` ${description}`) : null)),
  );
  const chosen = () => options.filter((_, at) => inputs[at].checked).map(({ value }) => value);
  return { node: h("div", { class: "options" }, rows), read: () => (many ? chosen() : (chosen()[0] ?? null)) };
}
