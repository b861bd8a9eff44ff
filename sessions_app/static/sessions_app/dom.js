// Elements from code. Text always arrives as text: nothing here parses markup.

/** `h("a", {class, href, onclick, "aria-label", dataset}, ...children)`; null children are left out. */
export function h(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "dataset") Object.assign(node.dataset, value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
}

const SVG = "http://www.w3.org/2000/svg";

/** A symbol of the page's sprite, invisible to screen readers. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

export const button = (label, props, ...children) =>
  h("button", { type: "button", class: "button", ...props }, ...(children.length ? children : [label]));

export const iconButton = (label, name, props = {}) =>
  button(label, { class: "icon-button", "aria-label": label, title: label, ...props }, icon(name));

/** Make the children of `parent` exactly `nodes`, moving as little as possible. */
export function arrange(parent, nodes) {
  nodes.forEach((node, index) => {
    if (parent.children[index] !== node) parent.insertBefore(node, parent.children[index] ?? null);
  });
  while (parent.children.length > nodes.length) parent.lastElementChild.remove();
}

/** Run `work` at most once per animation frame, with the latest arguments. */
export function perFrame(work) {
  let latest = null;
  return (...args) => {
    const due = latest !== null;
    latest = args;
    if (due) return;
    requestAnimationFrame(() => {
      const now = latest;
      latest = null;
      work(...now);
    });
  };
}

/** Put text on the clipboard and say so on the button. */
export async function copy(text, control) {
  const label = control.getAttribute("aria-label") ?? control.textContent;
  const say = (words) => {
    control.setAttribute("aria-label", words);
    control.dataset.said = words;
  };
  try {
    await navigator.clipboard.writeText(text);
    say("Copied");
  } catch {
    say("Copying is not allowed here");
  }
  setTimeout(() => {
    control.setAttribute("aria-label", label);
    delete control.dataset.said;
  }, 2000);
}
