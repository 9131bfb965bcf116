/**
 * A Web Storage that ends with the page. GraphiQL keeps its tabs, history and settings in it, so that no query,
 * variable or answer outlives the tab or meets the next person at this browser.
 */
export class MemoryStorage {
  #items = new Map();

  get length() {
    return this.#items.size;
  }

  getItem(key) {
    return this.#items.get(key) ?? null;
  }

  setItem(key, value) {
    this.#items.set(key, String(value));
  }

  removeItem(key) {
    this.#items.delete(key);
  }

  clear() {
    this.#items.clear();
  }
}
