import type { Log } from '../../core/log/log.ts';
import type { ToolName } from '../../core/names.ts';
import type { Directory, DirectoryTool, Identity, OfferedKey } from '../directory.ts';
import { inTime } from '../directory-timeout.ts';
import { isHardwareKey } from '../public-key.ts';
import { readLogin, toolLogin } from '../user-name.ts';
import { CachedDirectory } from './directory-cache.ts';
import { LdapKeyIndex } from './ldap-key-index.ts';
import { LdapMembership } from './ldap-membership.ts';
import { LdapPeople, type LdapPerson } from './ldap-people.ts';
import { LdapServers } from './ldap-servers.ts';
import { type LdapConfig, type LdapSettings, readLdapSettings } from './ldap-settings.ts';
import { type LdapTool, LdapTools } from './ldap-tools.ts';

/** How long `warnWhereSilent` waits for an answer. This is longer than any question to LDAP may take. */
const START_MS = 30_000;

/**
 * Opens the directory of people and tools in LDAP, with the cache that the settings ask for. Succeeds even if no LDAP
 * server answers. Until one answers, each login with a key or password is refused with `DIRECTORY_UNAVAILABLE`.
 *
 * @throws DeployError `BAD_SETTING` if a setting of LDAP is missing or wrong.
 */
export async function openLdapDirectory(config: LdapConfig, log: Log): Promise<Directory> {
  const settings = await readLdapSettings(config);
  return new CachedDirectory(new LdapDirectory(settings, log), settings);
}

/**
 * When the server starts, warns the operator if no LDAP server answers. Without this warning, the operator would learn
 * it only from people who cannot log in. Never rejects.
 */
export async function warnWhereSilent(directory: Directory, log: Log): Promise<void> {
  try {
    await directory.toolsOf('nobody', AbortSignal.timeout(START_MS));
  } catch (err) {
    log.warn({ err }, 'no LDAP server answers; nobody can log in until an LDAP server answers');
  }
}

/**
 * People and tools from LDAP with Toolforge's schema: `uid=NAME,ou=people`, `cn=tools.NAME,ou=servicegroups`. Keeps no
 * answers, because the cache in front of this class keeps them, with their age. Keeps only an index of keys. If the
 * index names an owner, asks LDAP whether the owner still has the key.
 */
export class LdapDirectory implements Directory {
  readonly #servers: LdapServers;
  readonly #people: LdapPeople;
  readonly #tools: LdapTools;
  readonly #membership: LdapMembership;
  readonly #keys: LdapKeyIndex;
  readonly #limitMs: number;

  constructor(settings: LdapSettings, log: Log) {
    this.#servers = new LdapServers(settings, log);
    this.#people = new LdapPeople(this.#servers, settings, log);
    this.#tools = new LdapTools(this.#servers, settings, log);
    this.#membership = new LdapMembership(this.#people, this.#tools, log);
    this.#keys = new LdapKeyIndex(this.#people, this.#tools, settings);
    this.#limitMs = settings.limitMs;
  }

  async identifyByKey(login: string, key: OfferedKey, signal: AbortSignal): Promise<Identity | null> {
    const wanted = readLogin(login);
    if (wanted === null || isHardwareKey(key.algorithm)) return null;
    const blob = key.blob.toString('base64');
    return await inTime(signal, this.#limitMs, async (limit) => {
      switch (wanted.kind) {
        case 'person':
          return await this.#personWithKey(wanted.uid, blob, limit);
        case 'tool':
          return await this.#maintainerOrTool(wanted.tool, blob, limit);
        case 'anyone':
          return await this.#ownerOf(blob, limit);
      }
      wanted satisfies never;
      throw new Error('unreachable');
    });
  }

  async identifyByPassword(login: string, password: string, signal: AbortSignal): Promise<Identity | null> {
    // Refuse an empty password, because LDAP accepts it for everybody (RFC 4513 section 5.1.2).
    if (password === '') return null;
    const wanted = readLogin(login);
    return await inTime(signal, this.#limitMs, async (limit) => {
      if (wanted?.kind === 'tool') {
        const account = (await this.#tool(wanted.tool, limit))?.account ?? null;
        const isRight = await this.#isPassword(account, password, limit);
        return isRight ? itself(wanted.tool) : null;
      }
      const person = wanted?.kind === 'person' ? await this.#people.byName(wanted.uid, limit) : null;
      const active = person === null || person.isDisabled ? null : person;
      const isRight = await this.#isPassword(active, password, limit);
      return isRight && active !== null ? { uid: active.uid, onlyTool: null } : null;
    });
  }

  async findTool(name: ToolName, signal: AbortSignal): Promise<DirectoryTool | null> {
    return await inTime(signal, this.#limitMs, async (limit) => {
      const tool = await this.#tool(name, limit);
      if (tool === null) return null;
      const maintainers = await this.#membership.maintainers(tool, limit);
      return {
        name,
        maintainers: new Set(maintainers.map(({ uid }) => uid)),
        isDisabled: tool.isDisabled,
      };
    });
  }

  async toolsOf(uid: string, signal: AbortSignal): Promise<ToolName[]> {
    const wanted = readLogin(uid);
    return await inTime(signal, this.#limitMs, async (limit) => {
      if (wanted?.kind === 'tool') {
        return (await this.#tool(wanted.tool, limit)) === null ? [] : [wanted.tool];
      }
      const person = wanted?.kind === 'person' ? await this.#people.byName(wanted.uid, limit) : null;
      if (person === null || person.isDisabled) return [];
      return (await this.#membership.toolsOf(person, limit)).sort();
    });
  }

  async close(): Promise<void> {
    this.#servers.close();
  }

  async #tool(name: ToolName, signal: AbortSignal): Promise<LdapTool | null> {
    return (await this.#tools.named([name], signal))[0] ?? null;
  }

  async #personWithKey(uid: string, blob: string, signal: AbortSignal): Promise<Identity | null> {
    const person = await this.#people.byName(uid, signal);
    return person !== null && !person.isDisabled && person.keys.has(blob) ? { uid, onlyTool: null } : null;
  }

  /**
   * If exactly one maintainer of the tool has the key, returns this person, so that the push is recorded under their
   * name. Otherwise returns the tool if the account of the tool has the key, or null.
   */
  async #maintainerOrTool(name: ToolName, blob: string, signal: AbortSignal): Promise<Identity | null> {
    const tool = await this.#tool(name, signal);
    if (tool === null) return null;
    const maintainers = await this.#membership.maintainers(tool, signal);
    const [owner, ...others] = maintainers.filter(({ keys }) => keys.has(blob));
    if (owner !== undefined && others.length === 0) return { uid: owner.uid, onlyTool: null };
    return tool.account?.keys.has(blob) ? itself(name) : null;
  }

  /**
   * Finds the owner of a key in the index, then asks LDAP whether the owner still has the key. If a person and a tool
   * have the key, the person is the owner. Returns null if several people have the key, or if no person but several
   * tools have it.
   */
  async #ownerOf(blob: string, signal: AbortSignal): Promise<Identity | null> {
    const { people, tools } = await this.#keys.owners(blob, signal);
    const [uid, ...otherPeople] = people;
    if (uid !== undefined) {
      return otherPeople.length === 0 ? await this.#personWithKey(uid, blob, signal) : null;
    }
    const [name, ...otherTools] = tools;
    const tool = name === undefined || otherTools.length > 0 ? null : await this.#tool(name, signal);
    return tool?.account?.keys.has(blob) ? itself(tool.name) : null;
  }

  /**
   * Checks a password. Asks LDAP even about the passwords of unknown users, so that the response time does not reveal
   * who exists.
   */
  async #isPassword(
    entry: Pick<LdapPerson, 'dn'> | null,
    password: string,
    signal: AbortSignal,
  ): Promise<boolean> {
    const isRight = await this.#servers.isPassword(entry?.dn ?? this.#people.nobody(), password, signal);
    return entry !== null && isRight;
  }
}

function itself(tool: ToolName): Identity {
  return { uid: toolLogin(tool), onlyTool: tool };
}
