/**
 * A Web Storage that ends with the page. GraphiQL keeps its settings in it, so that nothing outlives the tab or meets
 * the next person at this browser. What is written in its editors is not even kept here: it is in them.
 */
const WRITTEN = /(^|:)(tabState|query|variables|headers|queries|favorites)$/;

export class MemoryStorage {
  #items = new Map();

  get length() {
    return this.#items.size;
  }

  getItem(key) {
    return this.#items.get(key) ?? null;
  }

  setItem(key, value) {
    if (!WRITTEN.test(key)) this.#items.set(key, String(value));
  }

  removeItem(key) {
    this.#items.delete(key);
  }

  clear() {
    this.#items.clear();
  }
}
