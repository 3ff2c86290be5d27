/** A map with a limited number of entries. If it is full, the entry that was set longest ago is dropped. */
export class RecentMap<Value> extends Map<string, Value> {
  readonly #most: number;

  constructor(most: number) {
    super();
    this.#most = most;
  }

  override set(key: string, value: Value): this {
    this.delete(key);
    super.set(key, value);
    const oldest = this.keys().next().value;
    if (this.size > this.#most && oldest !== undefined) this.delete(oldest);
    return this;
  }
}
