import type { ToolName } from '../../core/names.ts';
import type { DeployToken } from '../../core/types.ts';
import type { Database } from '../database.ts';

type TokenRow = DeployToken & { readonly hash: Uint8Array };

const selected =
  'id, tool, name, scope, "by", created_at AS createdAt, expires_at AS expiresAt, last_used_at AS lastUsedAt';

/** The deploy tokens. Revoking a token deletes its row. */
export class TokensTable {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  add(token: DeployToken, hash: Uint8Array): void {
    this.#database.run(
      'INSERT INTO deploy_tokens (id, tool, name, scope, "by", hash, created_at, expires_at, last_used_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)',
      token.id,
      token.tool,
      token.name,
      token.scope,
      token.by,
      hash,
      token.createdAt,
      token.expiresAt,
      token.lastUsedAt,
    );
  }

  find(id: string): { token: DeployToken; hash: Uint8Array } | null {
    const row = this.#database.get<TokenRow>(`SELECT ${selected}, hash FROM deploy_tokens WHERE id = ?`, id);
    if (row === null) return null;
    const { hash, ...token } = row;
    return { token, hash };
  }

  newest(tool: ToolName): DeployToken[] {
    const rows = this.#database.all<DeployToken>(
      `SELECT ${selected} FROM deploy_tokens WHERE tool = ? ORDER BY sequence DESC`,
      tool,
    );
    return rows.map((row) => ({ ...row }));
  }

  use(id: string, at: number): void {
    this.#database.run('UPDATE deploy_tokens SET last_used_at = ? WHERE id = ?', at, id);
  }

  remove(tool: ToolName, id: string): boolean {
    return this.#database.run('DELETE FROM deploy_tokens WHERE tool = ? AND id = ?', tool, id) > 0;
  }
}
