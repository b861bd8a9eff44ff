// Where the person writes: Enter sends, Shift+Enter breaks the line, pictures may come along.

import { h, iconButton } from "./dom.js";
import { readImages } from "./images.js";

const byId = (id) => document.getElementById(id);

export class Composer {
  #images = [];
  #live = false;
  #blocked = false;
  #form = byId("composer");
  #input = byId("message");
  #files = byId("files");
  #previews = byId("previews");
  #hint = byId("composer-hint");
  #send = byId("send");
  #stop = byId("stop");

  /** `send(text, images)` and `stop()` are called on the person's wish. */
  constructor({ send, stop }) {
    this.submit = () => this.#submit(send);
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    this.#stop.addEventListener("click", () => {
      stop();
      this.focus();
    });
    this.#input.addEventListener("input", () => this.#grow());
    this.#input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.submit();
    });
    this.#input.addEventListener("paste", (event) => {
      const { files } = event.clipboardData;
      if (files.length === 0) return;
      event.preventDefault();
      this.#add(files);
    });
    byId("attach").addEventListener("click", () => this.#files.click());
    this.#files.addEventListener("change", () => {
      this.#add([...this.#files.files]);
      this.#files.value = "";
    });
    this.#acceptDrops();
  }

  focus() {
    this.#input.focus({ preventScroll: true });
  }

  /** Put a message back for editing. */
  fill(text, images) {
    this.#input.value = text;
    this.#images = images;
    this.#drawPreviews();
    this.#grow();
    this.focus();
  }

  update({ live, blocked, stopping }) {
    this.#live = live;
    this.#blocked = blocked;
    this.#stop.hidden = !live;
    this.#send.hidden = live && blocked;
    this.#stop.setAttribute("aria-disabled", String(stopping));
    this.#stop.lastElementChild.textContent = stopping ? "Stopping…" : "Stop";
    if (!blocked) this.say("");
    this.#grow();
  }

  say(text) {
    this.#hint.textContent = text;
  }

  #submit(send) {
    const text = this.#input.value.trim();
    if (this.#blocked) {
      this.say(this.#live ? "Wait for the answer, or stop it with Esc." : "Answer the question above first.");
      return;
    }
    if (text === "" && this.#images.length === 0) return;
    const images = this.#images;
    this.fill("", []);
    send(text, images);
  }

  #grow() {
    this.#input.style.height = "auto";
    this.#input.style.height = `${this.#input.scrollHeight}px`;
    const empty = this.#input.value.trim() === "" && this.#images.length === 0;
    this.#send.setAttribute("aria-disabled", String(empty || this.#blocked));
  }

  async #add(files) {
    const { images, refusals } = await readImages(files, this.#images);
    this.#images = [...this.#images, ...images];
    this.say(refusals.join(" "));
    this.#drawPreviews();
    this.#grow();
  }

  #drawPreviews() {
    const items = this.#images.map((image) =>
      h(
        "li",
        {},
        h("img", { src: `data:${image.mimeType};base64,${image.data}`, alt: image.alt }),
        iconButton(`Remove ${image.alt}`, "close", { onclick: () => this.#remove(image) }),
      ),
    );
    this.#previews.replaceChildren(...items);
    this.#previews.hidden = items.length === 0;
  }

  #remove(image) {
    this.#images = this.#images.filter((item) => item !== image);
    this.#drawPreviews();
    this.#grow();
    this.focus();
  }

  #acceptDrops() {
    const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
    const mark = (on) => document.body.classList.toggle("dropping", on);
    addEventListener("dragover", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      mark(true);
    });
    addEventListener("dragleave", (event) => event.relatedTarget === null && mark(false));
    addEventListener("drop", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      mark(false);
      this.#add([...event.dataTransfer.files]);
    });
  }
}
