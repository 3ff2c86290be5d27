/** One text to find. */
export interface Pattern {
  readonly bytes: Uint8Array;
  /** A number of the caller's choice, which identifies the pattern in a match. */
  readonly label: number;
}

const BYTE_VALUES = 256;
/** This many bytes of a text or a pattern take less than a millisecond. */
const BYTES_A_STEP = 4096;

/**
 * Finds many patterns at once. The time of a search grows with the text alone, not with the number or the size of the
 * patterns.
 *
 * The patterns form a tree. A node of the tree is a number, and most nodes have one child: the next number. So a
 * pattern of n bytes takes about 10 n bytes of memory.
 *
 * @see https://doi.org/10.1145/360825.360855 Aho and Corasick, Efficient string matching
 */
export class ByteSearch {
  /** For each node of the tree: the byte that leads to the node. */
  readonly #byte: Uint8Array;
  /** For each node of the tree: 1 if it is a child of `node - 1`. */
  readonly #isNext: Uint8Array;
  /** For each node of the tree: 1 if it has a child other than `node + 1`. */
  readonly #hasOthers: Uint8Array;
  /** For `256 * node + byte`: the child of the node for this byte, unless the child is `node + 1`. */
  readonly #others = new Map<number, number>();
  /** For each byte: the node for patterns that begin with this byte, or 0 if no pattern does. */
  readonly #first = new Uint32Array(BYTE_VALUES);
  /** For each node: the node at which the search continues if the next byte leads to no child of this node. */
  readonly #fail: Uint32Array;
  /** For each node: the number of the longest pattern that ends at the node, from 1; 0 if no pattern ends there. */
  readonly #ends: Uint32Array;
  readonly #patterns: readonly Pattern[];
  #nodes = 1;

  /** Prepares the search. Yields after each `BYTES_A_STEP`, so that the caller can let other work run. */
  static *of(patterns: readonly Pattern[]): Generator<void, ByteSearch> {
    const search = new ByteSearch(patterns);
    yield* search.#build();
    return search;
  }

  private constructor(patterns: readonly Pattern[]) {
    const most = patterns.reduce((sum, { bytes }) => sum + bytes.length, 2);
    this.#patterns = patterns;
    this.#byte = new Uint8Array(most);
    this.#isNext = new Uint8Array(most);
    this.#hasOthers = new Uint8Array(most);
    this.#fail = new Uint32Array(most);
    this.#ends = new Uint32Array(most);
  }

  /**
   * Calls `onMatch` for each place of `bytes` where a pattern ends, with the longest pattern that ends there. `end` is
   * the index after the pattern's last byte. Yields after each `BYTES_A_STEP`, so that the caller can let other work
   * run (`TimeShares.runSteps`).
   */
  *scan(
    bytes: Uint8Array,
    length: number,
    onMatch: (end: number, matchLength: number, label: number) => void,
  ): Generator<void, void> {
    const ends = this.#ends;
    const first = this.#first;
    let node = 0;
    for (let index = 0; index < length; index++) {
      if (index % BYTES_A_STEP === BYTES_A_STEP - 1) yield;
      const byte = bytes[index] as number;
      node = node === 0 ? (first[byte] as number) : this.#step(node, byte);
      const found = ends[node] as number;
      if (found === 0) continue;
      const pattern = this.#patterns[found - 1] as Pattern;
      onMatch(index + 1, pattern.bytes.length, pattern.label);
    }
  }

  #step(from: number, byte: number): number {
    for (let node = from; node !== 0; node = this.#fail[node] as number) {
      const child = this.#child(node, byte);
      if (child !== 0) return child;
    }
    return this.#first[byte] as number;
  }

  /** The child of a node for this byte, or 0 if the node has no such child. */
  #child(node: number, byte: number): number {
    if (this.#isNext[node + 1] === 1 && this.#byte[node + 1] === byte) return node + 1;
    if (this.#hasOthers[node] === 0) return 0;
    return this.#others.get(node * BYTE_VALUES + byte) ?? 0;
  }

  *#build(): Generator<void, void> {
    const depth = new Uint32Array(this.#byte.length);
    const parent = new Map<number, number>();
    let deepest = 0;
    let read = 0;
    for (const [index, { bytes }] of this.#patterns.entries()) {
      let node = 0;
      for (const byte of bytes) {
        const known = node === 0 ? (this.#first[byte] as number) : this.#child(node, byte);
        node = known !== 0 ? known : this.#add(node, byte, depth, parent);
        read += 1;
        if (read % BYTES_A_STEP === 0) yield;
      }
      if (this.#ends[node] === 0) this.#ends[node] = index + 1;
      deepest = Math.max(deepest, bytes.length);
    }
    yield* this.#link(yield* byDepth(depth, this.#nodes, deepest), parent);
  }

  #add(parentNode: number, byte: number, depth: Uint32Array, parent: Map<number, number>): number {
    const node = this.#nodes++;
    this.#byte[node] = byte;
    depth[node] = (depth[parentNode] as number) + 1;
    if (parentNode === 0) this.#first[byte] = node;
    else if (parentNode === node - 1) this.#isNext[node] = 1;
    else {
      this.#hasOthers[parentNode] = 1;
      this.#others.set(parentNode * BYTE_VALUES + byte, node);
      parent.set(node, parentNode);
    }
    return node;
  }

  /**
   * Computes for each node where the search continues if the next byte leads to no child. That is the node for the
   * longest ending of the node's text that also begins a pattern.
   *
   * @param order - The nodes, those with a shorter text first.
   */
  *#link(order: Uint32Array, parent: ReadonlyMap<number, number>): Generator<void, void> {
    for (const [count, node] of order.entries()) {
      if (count % BYTES_A_STEP === BYTES_A_STEP - 1) yield;
      const before = this.#isNext[node] === 1 ? node - 1 : (parent.get(node) ?? 0);
      // If the text of a node is one byte, leave `#fail` at 0, so that the search continues at the root.
      if (before === 0) continue;
      const fail = this.#step(this.#fail[before] as number, this.#byte[node] as number);
      this.#fail[node] = fail;
      if (this.#ends[node] === 0) this.#ends[node] = this.#ends[fail] as number;
    }
  }
}

/** The nodes 1 to `nodes - 1` in the order of their depth. */
function* byDepth(depth: Uint32Array, nodes: number, deepest: number): Generator<void, Uint32Array> {
  const starts = new Uint32Array(deepest + 2);
  for (let node = 1; node < nodes; node++) {
    if (node % BYTES_A_STEP === 0) yield;
    const after = (depth[node] as number) + 1;
    starts[after] = (starts[after] as number) + 1;
  }
  for (let level = 1; level < starts.length; level++) {
    starts[level] = (starts[level] as number) + (starts[level - 1] as number);
  }
  const order = new Uint32Array(nodes - 1);
  for (let node = 1; node < nodes; node++) {
    if (node % BYTES_A_STEP === 0) yield;
    const level = depth[node] as number;
    const at = starts[level] as number;
    order[at] = node;
    starts[level] = at + 1;
  }
  return order;
}
