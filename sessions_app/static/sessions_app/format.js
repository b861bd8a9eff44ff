// Values as people read them.

const numbers = new Intl.NumberFormat("en");
const times = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const dates = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

export const count = (value) => numbers.format(value);

/** Micro-dollars as dollars; small sums keep two significant digits. */
export function money(micros) {
  if (micros === null || micros === undefined) return "price unknown";
  const dollars = micros / 1e6;
  if (dollars === 0) return "$0";
  if (dollars >= 0.995) return `$${dollars.toFixed(2)}`;
  return `$${Number(dollars.toPrecision(2)).toFixed(Math.min(6, 1 - Math.floor(Math.log10(dollars))))}`;
}

export function duration(milliseconds) {
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  if (milliseconds < 60_000) return `${(milliseconds / 1000).toFixed(1)} s`;
  return `${Math.floor(milliseconds / 60_000)} min ${Math.round((milliseconds % 60_000) / 1000)} s`;
}

const dateOf = (value) => {
  const date = new Date(value);
  return Number.isNaN(date.getTime()) ? null : date;
};

/** A moment; what is no date stays as it came. */
export function moment(value) {
  const date = dateOf(value);
  return date === null || typeof value !== "string" ? String(value) : dates.format(date);
}

export function clock(value) {
  const date = dateOf(value);
  return date === null ? "" : times.format(date);
}

/** Heading under which a session of that day is listed. */
export function dayName(value, now = new Date()) {
  const date = dateOf(value);
  if (date === null) return "Older";
  const midnight = new Date(now.getFullYear(), now.getMonth(), now.getDate());
  const days = Math.ceil((midnight - date) / 86_400_000);
  if (days <= 0) return "Today";
  if (days === 1) return "Yesterday";
  return days <= 7 ? "Previous 7 days" : "Older";
}

/** `zone_name` and `zoneName` as "Zone name". */
export function words(key) {
  const text = String(key).replace(/([a-z])([A-Z])/g, "$1 $2").replace(/[_-]+/g, " ").trim();
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** JSON text indented for reading; any other text as it is. */
export function pretty(value) {
  if (typeof value !== "string") return JSON.stringify(value, null, 2);
  if (!/^\s*[[{]/.test(value)) return value;
  try {
    return JSON.stringify(JSON.parse(value), null, 2);
  } catch {
    return value;
  }
}
