// All widget types by name. Unknown types and odd data become a readable table; unknown keys of
// known types are listed below what the widget shows.

import { h } from "../dom.js";
import { words } from "../format.js";
import { alertCard, documentPreview, entityCard, infoCard, metric } from "./cards.js";
import { credentialInput } from "./credential.js";
import { entityList, scopeMap, scoreBreakdown, statusBoard, timeline } from "./lists.js";
import { isRecord, Reader } from "./reader.js";
import { comparison, dataTable } from "./tables.js";
import { facts, show } from "./values.js";

const WIDGETS = {
  "data-table": dataTable,
  "info-card": infoCard,
  metric,
  timeline,
  "status-board": statusBoard,
  "score-breakdown": scoreBreakdown,
  "alert-card": alertCard,
  "entity-card": entityCard,
  "entity-list": entityList,
  comparison,
  "scope-map": scopeMap,
  "credential-input": credentialInput,
  "document-preview": documentPreview,
};

/** `page` gives widgets `send(message)` and `act(body)`, which resolves to a refusal or null. */
export function drawWidget(type, data, page) {
  const name = words(type ?? "widget");
  const known = Object.hasOwn(WIDGETS, type) && isRecord(data);
  const frame = (...content) =>
    h("section", { class: "widget", "aria-label": name, dataset: { widget: type } }, ...content);
  if (!known) return frame(h("p", { class: "label" }, name), h("div", { class: "generic" }, show(data)));
  const reader = new Reader(data);
  const content = WIDGETS[type](reader, page);
  const rest = reader.rest();
  return frame(content, rest.length > 0 ? h("div", { class: "extras" }, facts(rest)) : null);
}
