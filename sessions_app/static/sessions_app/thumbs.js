// A thumb under an answer, and a word why. Reading who pressed what is left until it is looked at.

import { button, h, iconButton } from "./dom.js";

const WORDS = { up: "Good answer", down: "Bad answer" };

export class Thumbs {
  #message = null;

  constructor(page) {
    this.page = page;
    this.buttons = Object.entries(WORDS).map(([rating, words]) =>
      iconButton(words, `thumb-${rating}`, { "aria-pressed": "false", dataset: { rating }, onclick: () => this.#press(rating) }),
    );
    this.said = h("span", { class: "thumbs-said", role: "status" });
    this.node = h("span", { class: "thumbs" }, this.buttons, this.said);
  }

  /** Show what was pressed before, once the answer is there. */
  async update(message) {
    if (this.#message !== null) return;
    this.#message = message;
    this.#mark(await this.page.ratingOf(message.id));
  }

  #mark(rating) {
    for (const each of this.buttons) {
      each.setAttribute("aria-pressed", String(each.dataset.rating === rating));
    }
  }

  async #press(rating, comment = "") {
    const problem = await this.page.rate({ messageId: this.#message.id, rating, comment });
    if (problem !== null) return this.#say(problem);
    this.#mark(rating);
    if (rating === "down" && comment === "") return this.#askWhy();
    return this.#say("Thank you.");
  }

  #say(words) {
    this.said.replaceChildren(words);
  }

  #askWhy() {
    const field = h("input", { class: "thumbs-why", maxlength: "4000", placeholder: "What was wrong?", "aria-label": "What was wrong with this answer?" });
    const send = () => (field.value.trim() ? this.#press("down", field.value.trim()) : this.#say("Thank you."));
    const form = h("form", { onsubmit: (event) => { event.preventDefault(); send(); } }, field, button("Send", { type: "submit" }));
    this.said.replaceChildren(form);
    field.focus();
  }
}
