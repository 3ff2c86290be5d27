import { AndFilter, DN, EqualityFilter, type Filter, OrFilter, PresenceFilter } from 'ldapts';
import type { Log } from '../../core/log/log.ts';
import { type ToolName, toolName } from '../../core/names.ts';
import { normalise } from '../user-name.ts';
import { type ReadDn, readDn } from './ldap-dn.ts';
import { isLocked, type LdapEntry, LOCK_ATTRIBUTES } from './ldap-entry.ts';
import { chunkByChunk } from './ldap-people.ts';
import type { LdapServers } from './ldap-servers.ts';
import type { LdapSettings } from './ldap-settings.ts';

/** The tool's own account, which may have keys and a password. */
export interface LdapToolAccount {
  readonly dn: string;
  readonly keys: ReadonlySet<string>;
}

export interface LdapTool {
  readonly name: ToolName;
  /** Distinguished names of people and of other tools. */
  readonly members: readonly string[];
  /** Null if the tool has no account of its own or several, or if the tool is disabled. */
  readonly account: LdapToolAccount | null;
  readonly isDisabled: boolean;
}

/** Finds tools in LDAP: their groups, their own accounts, and which members of a tool's group are tools too. */
export class LdapTools {
  readonly #servers: LdapServers;
  readonly #settings: LdapSettings;
  readonly #toolBaseKeys: ReadonlySet<string>;
  readonly #log: Log;

  constructor(servers: LdapServers, settings: LdapSettings, log: Log) {
    this.#servers = servers;
    this.#settings = settings;
    const bases = [settings.tools.base, ...(settings.toolAccounts === null ? [] : [settings.toolAccounts])];
    this.#toolBaseKeys = new Set(bases.map((base) => readDn(base)?.key ?? ''));
    this.#log = log;
  }

  /** The tools with these names. The list has no tool for a name without a group, or with several groups. */
  async named(names: readonly ToolName[], signal: AbortSignal): Promise<LdapTool[]> {
    return await chunkByChunk(names, async (chunk) => {
      const [groups, accounts] = await Promise.all([
        this.#groups(this.#anyOf('cn', chunk), ['cn', 'member', ...LOCK_ATTRIBUTES], signal),
        this.#accounts(this.#anyOf('uid', chunk), signal),
      ]);
      return chunk.flatMap((name) => this.#read(name, groups, accounts) ?? []);
    });
  }

  /** The names of all tools of which one of these distinguished names is a member. */
  async withMember(dns: readonly string[], signal: AbortSignal): Promise<ToolName[]> {
    const groups = await chunkByChunk(dns, async (chunk) => {
      const filters = chunk.map((value) => new EqualityFilter({ attribute: 'member', value }));
      return await this.#groups(new OrFilter({ filters }), ['cn'], signal);
    });
    return [...new Set(groups.flatMap((entry) => this.#toolIn(entry.nameIn('cn')) ?? []))];
  }

  /** The tools whose own accounts have keys, together with these keys. */
  async keysOfAccounts(signal: AbortSignal): Promise<{ name: ToolName; keys: ReadonlySet<string> }[]> {
    const accounts = await this.#accounts(new PresenceFilter({ attribute: 'sshPublicKey' }), signal, true);
    return accounts.flatMap((entry) => {
      const name = isLocked(entry) ? null : this.#toolIn(entry.nameIn('uid'));
      return name === null ? [] : [{ name, keys: entry.keys() }];
    });
  }

  /** Returns the tool that a member's distinguished name stands for. Null for other members, such as people. */
  meantBy({ first, parentKey }: ReadDn): ToolName | null {
    const [part, ...others] = first;
    const isTool =
      part !== undefined &&
      others.length === 0 &&
      ['uid', 'cn'].includes(part.attribute) &&
      this.#toolBaseKeys.has(parentKey);
    // LDAP ignores case and outer spaces in a name, so the name is normalised first.
    return isTool ? this.#toolIn(normalise(part.value)) : null;
  }

  /** All distinguished names under which a tool may be a member of another tool. */
  namesOf(tool: ToolName): string[] {
    const { tools, toolAccounts } = this.#settings;
    const cn = new DN().addPairRDN('cn', tools.prefix + tool);
    const uid = new DN().addPairRDN('uid', tools.prefix + tool);
    const group = `${cn},${tools.base}`;
    return toolAccounts === null ? [group] : [group, `${uid},${toolAccounts}`, `${cn},${toolAccounts}`];
  }

  #read(name: ToolName, groups: readonly LdapEntry[], accounts: readonly LdapEntry[]): LdapTool | null {
    const [group, ...twins] = groups.filter((entry) => this.#toolIn(entry.nameIn('cn')) === name);
    if (group === undefined) return null;
    if (twins.length > 0) {
      this.#log.warn(
        { tool: name, entries: twins.length + 1 },
        'several LDAP groups have the name of the same tool',
      );
      return null;
    }
    const own = accounts.filter((entry) => this.#toolIn(entry.nameIn('uid')) === name);
    const isDisabled = [group, ...own].some((entry) => isLocked(entry));
    const [account] = own.length === 1 && !isDisabled ? own : [];
    return {
      name,
      members: group.values('member'),
      account: account === undefined ? null : { dn: account.dn, keys: account.keys() },
      isDisabled,
    };
  }

  /**
   * Removes the prefix, such as `tools.`, from the name of an entry. Null if the name has no such prefix, or if the
   * rest is not a valid tool name. So only a valid tool name can become part of a path.
   */
  #toolIn(text: string | null): ToolName | null {
    const { prefix } = this.#settings.tools;
    return text?.startsWith(prefix) ? toolName(text.slice(prefix.length)) : null;
  }

  #anyOf(attribute: string, names: readonly ToolName[]): Filter {
    const { prefix } = this.#settings.tools;
    return new OrFilter({
      filters: names.map((name) => new EqualityFilter({ attribute, value: prefix + name })),
    });
  }

  async #groups(filter: Filter, attributes: readonly string[], signal: AbortSignal): Promise<LdapEntry[]> {
    const { base, filter: isTool } = this.#settings.tools;
    const question = { base, filter: new AndFilter({ filters: [isTool, filter] }), attributes };
    return await this.#servers.search(question, signal);
  }

  async #accounts(filter: Filter, signal: AbortSignal, isListing = false): Promise<LdapEntry[]> {
    const base = this.#settings.toolAccounts;
    if (base === null) return [];
    const attributes = ['uid', 'sshPublicKey', ...LOCK_ATTRIBUTES];
    return await this.#servers.search({ base, filter, attributes, isListing }, signal);
  }
}
