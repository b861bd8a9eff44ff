// A form for secrets. They go to `/widget-actions` and nowhere else: not into the conversation,
// not into the page's state, and out of the fields once they are sent.

import { button, h } from "../dom.js";
import { words } from "../format.js";
import { heading } from "./parts.js";
import { Reader } from "./reader.js";
import { facts } from "./values.js";

export function credentialInput(data, page) {
  const connection = data.text("connection_name");
  const app = data.text("app_id");
  const inputs = data.records("fields").map(oneField);
  const said = h("p", { class: "said", role: "status" });
  const save = button("Save", { type: "submit", class: "button primary" });

  async function submit(event) {
    event.preventDefault();
    save.disabled = true;
    said.textContent = "Saving…";
    const values = Object.fromEntries(inputs.map(({ name, input }) => [name, input.value]));
    const refusal = await page.act({
      action: "credential_saved",
      connection_name: connection,
      app_id: app,
      values,
    });
    said.textContent = refusal ?? "Saved. The values are stored encrypted.";
    save.disabled = refusal === null;
    if (refusal !== null) return;
    for (const { input } of inputs) {
      input.value = "";
      input.disabled = true;
    }
  }

  return [
    heading(`Credentials for ${connection ?? "a connection"}`, app),
    h("p", { class: "quiet" }, "They are sent to the server, never to the model."),
    h(
      "form",
      { class: "fields", onsubmit: submit, autocomplete: "off" },
      inputs.map(({ node }) => node),
      h("div", { class: "actions" }, save, said),
    ),
  ];
}

function oneField(raw) {
  const field = new Reader(raw);
  const name = field.text("name") ?? "value";
  const input = h("input", {
    type: field.text("type") === "text" ? "text" : "password",
    autocomplete: "off",
    spellcheck: "false",
    required: field.flag("required"),
  });
  const label = field.text("label") ?? words(name);
  return { name, input, node: h("label", {}, h("span", {}, label), input, facts(field.rest())) };
}
