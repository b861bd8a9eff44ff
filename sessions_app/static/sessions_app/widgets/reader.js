// Takes known keys out of widget data and remembers what was not taken.
// Law: nothing is dropped; a key that is unknown, or not of the expected form, is left for `rest`.

const isScalar = (value) => ["string", "number", "boolean"].includes(typeof value);
export const isRecord = (value) =>
  value !== null && typeof value === "object" && !Array.isArray(value);

export class Reader {
  #left;

  constructor(data) {
    this.#left = new Map(Object.entries(data));
  }

  #take(key, fits, otherwise) {
    const value = this.#left.get(key);
    if (value === null || value === undefined) {
      this.#left.delete(key);
      return otherwise;
    }
    if (!fits(value)) return otherwise;
    this.#left.delete(key);
    return value;
  }

  /** The text of a scalar, or null. */
  text(key) {
    const value = this.#take(key, isScalar, null);
    return value === null ? null : String(value);
  }

  number(key) {
    const value = this.#take(key, (given) => given !== "" && isScalar(given) && !Number.isNaN(Number(given)), null);
    return value === null ? null : Number(value);
  }

  flag(key) {
    return this.#take(key, (given) => typeof given === "boolean", false);
  }

  record(key) {
    return this.#take(key, isRecord, {});
  }

  /** A list whose items are all scalars, as texts. */
  texts(key) {
    return this.#take(key, (given) => Array.isArray(given) && given.every(isScalar), []).map(String);
  }

  /** A list whose items are all objects. */
  records(key) {
    return this.#take(key, (given) => Array.isArray(given) && given.every(isRecord), []);
  }

  list(key) {
    return this.#take(key, Array.isArray, []);
  }

  /** What nobody took: `[[key, value]]`. */
  rest() {
    return [...this.#left].filter(([, value]) => value !== null && value !== undefined);
  }
}
