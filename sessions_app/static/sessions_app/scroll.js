// Keeps the newest words in sight while the person is at the end, and lets go when they scroll up.

const NEAR = 60; // pixels from the end that still count as the end

export class Follower {
  #box = document.getElementById("scroller");
  #jump = document.getElementById("jump");
  #follows = true;

  constructor() {
    this.#box.addEventListener("scroll", () => this.#look(), { passive: true });
    this.#jump.addEventListener("click", () => this.toEnd());
    new ResizeObserver(() => this.keep()).observe(this.#box.firstElementChild);
  }

  #look() {
    const { scrollHeight, scrollTop, clientHeight } = this.#box;
    this.#follows = scrollHeight - scrollTop - clientHeight < NEAR;
    this.#jump.hidden = this.#follows;
  }

  /** After the content grew. */
  keep() {
    if (this.#follows) this.#box.scrollTop = this.#box.scrollHeight;
    else this.#look();
  }

  toEnd() {
    this.#follows = true;
    this.#jump.hidden = true;
    this.#box.scrollTop = this.#box.scrollHeight;
  }
}
