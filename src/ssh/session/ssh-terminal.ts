import type { Session } from 'ssh2';
import type { Terminal, TerminalSize } from '../../run/runtime.ts';

const MAX_CELLS = 65_535;
/**
 * How long a terminal request waits for the command of its session. The command decides whether the client gets a
 * terminal. After this time, the server refuses the terminal. OpenSSH and PuTTY send the request and the command
 * together.
 */
const HOLD_MS = 500;

/**
 * The terminal that a client has asked for. While it is in use, the client's own terminal is in raw mode.
 *
 * @see https://www.rfc-editor.org/rfc/rfc4254#section-6.2
 */
class SshTerminal implements Terminal {
  readonly type: string;
  #size: TerminalSize;
  #listener: (size: TerminalSize) => void = () => {};

  constructor(type: string, columns: number, rows: number) {
    this.type = /^[A-Za-z0-9][-+.\w]{0,63}$/.test(type) ? type : 'dumb';
    this.#size = sizeOf(columns, rows);
  }

  get size(): TerminalSize {
    return this.#size;
  }

  onResize(listener: (size: TerminalSize) => void): void {
    this.#listener = listener;
  }

  resize(columns: number, rows: number): void {
    this.#size = sizeOf(columns, rows);
    this.#listener(this.#size);
  }
}

/** Grants a session one terminal, and only if its command may have one. */
export class TerminalRequest {
  #terminal: SshTerminal | null = null;
  #settle: (isGranted: boolean) => void = () => {};

  /** Listens for terminal requests and size changes of this session. */
  constructor(session: Session) {
    session.on('pty', (accept, reject, { term = '', cols, rows }) => {
      if (this.#terminal !== null) return reject?.();
      this.#terminal = new SshTerminal(term, cols, rows);
      // Reply to the terminal request only when the command is known, because only some commands get a terminal.
      const held = setTimeout(() => this.#settle(false), HOLD_MS).unref();
      this.#settle = (isGranted) => {
        clearTimeout(held);
        this.#settle = () => {};
        if (isGranted) return accept?.();
        this.#terminal = null;
        reject?.();
      };
    });
    session.on('window-change', (accept, _reject, { cols, rows }) => {
      this.#terminal?.resize(cols, rows);
      accept?.();
    });
  }

  /** Answers the terminal request once the command is known. @returns the granted terminal, or null. */
  decide(isGranted: boolean): Terminal | null {
    this.#settle(isGranted);
    return this.#terminal;
  }
}

function sizeOf(columns: number, rows: number): TerminalSize {
  const cells = (count: number, byDefault: number) =>
    count >= 1 && count <= MAX_CELLS ? Math.floor(count) : byDefault;
  return { columns: cells(columns, 80), rows: cells(rows, 24) };
}
