// The list of sessions: search, open, rename, delete, more.

import * as api from "./api.js";
import { button, h, iconButton } from "./dom.js";
import { dayName } from "./format.js";

const byId = (id) => document.getElementById(id);
const BUSY = { running: "working", waiting: "waiting for you" };

export class SessionList {
  #items = [];
  #cursor = null;
  #current = null;
  #told = { title: null, status: null }; // of the open session
  #search = null; // aborts the request of an older search
  #timer = null;
  #soon = null;
  #list = byId("sessions");
  #said = byId("sessions-said");
  #more = byId("more-sessions");
  #query = byId("search");

  /** `open(id)`, `gone(id)`, `renamed(id, title)`: what the person did with a session. */
  constructor({ open, gone, renamed }) {
    this.open = open;
    this.gone = gone;
    this.renamed = renamed;
    this.#more.addEventListener("click", () => this.#load(this.#cursor));
    this.#query.addEventListener("input", () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.refresh(), 200);
    });
  }

  refresh() {
    return this.#load(null);
  }

  async #load(cursor) {
    this.#search?.abort();
    this.#search = new AbortController();
    const { signal } = this.#search;
    try {
      const q = this.#query.value.trim() || null;
      const page = await api.listSessions({ q, cursor, limit: 50 }, signal);
      this.#items = cursor === null ? page.sessions : [...this.#items, ...page.sessions];
      this.#cursor = page.nextCursor ?? null;
      this.#draw();
    } catch (error) {
      if (error.name !== "AbortError") this.#said.textContent = `Not loaded: ${error.message}`;
    }
  }

  /** Mark the open session. What its log says of it is newer than any list. */
  mark(id, told) {
    const { title, status } = this.#told;
    if (id === this.#current && title === told.title && status === told.status) return;
    this.#current = id;
    this.#told = told;
    this.#draw();
  }

  /** An event of the bus: what is listed changes in place, for anything else the list is read. */
  tell(event, { sessionId, title, status, timestamp }) {
    if (!event.startsWith("session_")) return;
    const listed = this.#items.some((session) => session.id === sessionId);
    if (event === "session_deleted") {
      this.#items = this.#items.filter((session) => session.id !== sessionId);
    } else if (listed) {
      const news = { ...(title != null && { title }), ...(status && { status }), updated_at: timestamp };
      const found = this.#items.find((session) => session.id === sessionId);
      const others = this.#items.filter((session) => session !== found);
      this.#items = [{ ...found, ...news }, ...others];
    } else {
      clearTimeout(this.#soon);
      this.#soon = setTimeout(() => this.refresh(), 150);
      return;
    }
    this.#draw();
  }

  #draw() {
    const groups = Map.groupBy
      ? Map.groupBy(this.#items, (item) => dayName(item.updated_at))
      : groupByDay(this.#items);
    const nodes = [...groups].map(([day, items]) =>
      h("section", {}, h("h2", {}, day), h("ul", {}, items.map((item) => this.#line(item)))),
    );
    this.#list.replaceChildren(...nodes);
    const nothing = this.#query.value.trim() ? "Nothing found." : "No sessions yet.";
    this.#said.textContent = nodes.length > 0 ? "" : nothing;
    this.#more.hidden = this.#cursor === null;
  }

  #line(session) {
    const current = session.id === this.#current;
    const title = (current && this.#told.title) || session.title || "New conversation";
    const status = (current && this.#told.status) || session.status;
    const state = BUSY[status] ?? null;
    const go = (event) => {
      if (event.metaKey || event.ctrlKey || event.shiftKey) return;
      event.preventDefault();
      this.open(session.id);
    };
    const row = h(
      "li",
      { class: "session" },
      h(
        "a",
        { href: addressOf(session.id), onclick: go, "aria-current": current ? "page" : null, title },
        state ? h("span", { class: "dot", dataset: { status } }, h("span", { class: "sr" }, `${state}: `)) : null,
        h("span", {}, title),
      ),
      h(
        "div",
        { class: "session-tools" },
        iconButton(`Rename ${title}`, "pencil", { onclick: () => this.#rename({ ...session, title }, row) }),
        iconButton(`Delete ${title}`, "trash", { onclick: () => this.#confirmDelete(session) }),
      ),
    );
    return row;
  }

  #rename(session, row) {
    const input = h("input", { type: "text", value: session.title ?? "", maxlength: "200", "aria-label": "Title" });
    let over = false; // taking the field away blurs it, which would finish a second time
    const finish = async (save) => {
      if (over) return;
      over = true;
      const title = input.value.trim();
      form.replaceWith(row);
      if (!save || title === "" || title === session.title) return;
      try {
        await api.renameSession(session.id, title);
        this.#items = this.#items.map((item) => (item.id === session.id ? { ...item, title } : item));
        this.#draw();
        this.renamed(session.id, title);
      } catch (error) {
        this.#said.textContent = `Not renamed: ${error.message}`;
      }
    };
    const form = h("li", { class: "session" }, input);
    input.addEventListener("blur", () => finish(true));
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter") finish(true);
      if (event.key === "Escape") finish(false);
      event.stopPropagation();
    });
    row.replaceWith(form);
    input.select();
  }

  #confirmDelete(session) {
    const said = h("p", { class: "said", role: "status" });
    const remove = async () => {
      try {
        await api.deleteSession(session.id);
        dialog.close();
        this.#items = this.#items.filter((item) => item.id !== session.id);
        this.#draw();
        this.gone(session.id);
      } catch (error) {
        said.textContent = `Not deleted: ${error.message}`;
      }
    };
    const dialog = h(
      "dialog",
      { class: "dialog", "aria-labelledby": "delete-title", onclose: () => dialog.remove() },
      h("h2", { id: "delete-title" }, "Delete this conversation?"),
      h("p", {}, `“${session.title || "New conversation"}” and everything in it will be gone. This cannot be undone.`),
      said,
      h(
        "div",
        { class: "actions" },
        button("Cancel", { onclick: () => dialog.close() }),
        button("Delete", { class: "button danger", onclick: remove }),
      ),
    );
    document.body.append(dialog);
    dialog.showModal();
  }
}

function groupByDay(items) {
  const groups = new Map();
  for (const item of items) {
    const day = dayName(item.updated_at);
    groups.set(day, [...(groups.get(day) ?? []), item]);
  }
  return groups;
}

/** Address of the page that shows this session; other parameters stay. */
export function addressOf(id) {
  const query = new URLSearchParams(location.search);
  if (id === null) query.delete("session");
  else query.set("session", id);
  const text = query.toString();
  return location.pathname + (text && `?${text}`);
}
