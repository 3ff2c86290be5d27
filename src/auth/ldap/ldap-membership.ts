import type { Log } from '../../core/log/log.ts';
import type { ToolName } from '../../core/names.ts';
import { type ReadDn, readDn } from './ldap-dn.ts';
import type { LdapPeople, LdapPerson } from './ldap-people.ts';
import type { LdapTool, LdapTools } from './ldap-tools.ts';

/**
 * A member of a tool may be another tool, which has members of its own, and so on. At most this many such steps are
 * followed.
 */
const MAX_STEPS = 8;
/**
 * The maintainers of a tool are searched among its own members and those of the tools that it has as members, in at
 * most this many tools together. If the next step would exceed this, all tools of that step are ignored.
 */
const MAX_TOOLS = 500;

/**
 * Finds the maintainers of a tool. If another tool is a member of the tool, the other tool's maintainers count too,
 * unless the other tool is disabled. If tools are members of each other, each tool is still followed only once.
 */
export class LdapMembership {
  readonly #people: LdapPeople;
  readonly #tools: LdapTools;
  readonly #log: Log;

  constructor(people: LdapPeople, tools: LdapTools, log: Log) {
    this.#people = people;
    this.#tools = tools;
    this.#log = log;
  }

  /** All people who maintain the tool and are not disabled. */
  async maintainers(tool: LdapTool, signal: AbortSignal): Promise<LdapPerson[]> {
    const people = new Map<string, ReadDn>();
    const seen = new Set<ToolName>([tool.name]);
    let step: readonly LdapTool[] = [tool];
    for (let steps = 0; step.length > 0; steps += 1) {
      const dns = step.flatMap(({ members }) => members.flatMap((member) => readDn(member) ?? []));
      for (const dn of dns) if (this.#people.holds(dn)) people.set(dn.key, dn);
      const further = new Set(dns.flatMap((dn) => this.#tools.meantBy(dn) ?? [])).difference(seen);
      if (further.size > 0 && this.#isTooMuch(tool.name, steps, seen.size + further.size)) break;
      for (const name of further) seen.add(name);
      step = (await this.#tools.named([...further], signal)).filter(({ isDisabled }) => !isDisabled);
    }
    const found = await this.#people.byDns([...people.values()], signal);
    return found.filter(({ isDisabled }) => !isDisabled);
  }

  /** The names of all tools that the person maintains. */
  async toolsOf(person: LdapPerson, signal: AbortSignal): Promise<ToolName[]> {
    const found = new Set<ToolName>();
    let members: readonly string[] = [person.dn];
    for (let steps = 0; members.length > 0; steps += 1) {
      const names = new Set(await this.#tools.withMember(members, signal)).difference(found);
      for (const name of names) found.add(name);
      if (names.size > 0 && this.#isTooMuch(person.uid, steps, 0)) break;
      const active = (await this.#tools.named([...names], signal)).filter(({ isDisabled }) => !isDisabled);
      members = active.flatMap(({ name }) => this.#tools.namesOf(name));
    }
    return [...found];
  }

  #isTooMuch(of: string, steps: number, tools: number): boolean {
    if (steps < MAX_STEPS && tools <= MAX_TOOLS) return false;
    this.#log.warn(
      { of, steps, tools },
      'groups of tools contain each other at too many levels, or contain too many groups: the server ignores the others',
    );
    return true;
  }
}
