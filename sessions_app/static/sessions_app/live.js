// The server's event bus, followed while the page is seen: a hidden tab would keep one of the
// few connections that a browser allows.

import * as api from "./api.js";
import { keepReading } from "./stream.js";

/** Call `onEvent(name, data)` for what changes from now on, `onGap()` when some of it is lost. */
export function followBus({ onEvent, onGap }) {
  let last = null;
  let reading = null;

  const begin = () => {
    if (reading !== null || document.hidden) return;
    reading = new AbortController();
    const { signal } = reading;
    keepReading({
      open: () => api.openBus(last, signal),
      onFrame({ seq, event, data }) {
        last = seq;
        if (event === "stream-reset") onGap();
        else onEvent(event, data);
      },
      onWait() {}, // the conversation's own stream tells of a lost connection
      isOver: () => false,
      signal,
    }).catch(() => {}); // a server without a bus: the list is as new as its last reading
  };
  const end = () => {
    reading?.abort();
    reading = null;
  };

  document.addEventListener("visibilitychange", () => (document.hidden ? end() : begin()));
  begin();
}
