// Runs before the first paint, hence no module: a chosen theme must not flash the other one.
(() => {
  const root = document.documentElement;
  const stored = () => {
    try {
      return localStorage.getItem("theme");
    } catch {
      return null; // storage may be forbidden; the system's choice then stands
    }
  };
  if (stored()) root.dataset.theme = stored();

  addEventListener("DOMContentLoaded", () => {
    const control = document.getElementById("theme");
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
    const say = () => control.setAttribute("aria-pressed", String(isDark()));
    control.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      try {
        localStorage.setItem("theme", root.dataset.theme);
      } catch {
        // the choice lasts as long as the page
      }
      say();
    });
    dark.addEventListener("change", say);
    say();
  });
})();
