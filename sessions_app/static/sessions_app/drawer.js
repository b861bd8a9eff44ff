// On a narrow screen the session list is a drawer: shut, it is out of reach of keys and readers.

const byId = (id) => document.getElementById(id);

export class Drawer {
  #panel = byId("sidebar");
  #control = byId("open-sidebar");
  #shade = byId("shade");
  #narrow = matchMedia("(max-width: 800px)");
  isOpen = false;

  constructor() {
    this.#control.addEventListener("click", () => this.#show(true));
    byId("close-sidebar").addEventListener("click", () => this.close());
    this.#shade.addEventListener("click", () => this.close());
    this.#narrow.addEventListener("change", () => this.#show(false));
    this.#show(false);
  }

  close() {
    if (!this.isOpen) return;
    this.#show(false);
    this.#control.focus();
  }

  #show(open) {
    this.isOpen = open && this.#narrow.matches;
    this.#panel.inert = this.#narrow.matches && !open;
    this.#panel.classList.toggle("open", this.isOpen);
    this.#shade.hidden = !this.isOpen;
    this.#control.setAttribute("aria-expanded", String(this.isOpen));
    if (this.isOpen) byId("close-sidebar").focus();
  }
}
