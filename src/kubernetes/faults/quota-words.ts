import { parseQuantity } from '../../core/text/quantity.ts';

/** The cluster's refusal of a request that exceeds the quota of a namespace. */
export interface QuotaRefusal {
  readonly quota: string;
  /** True if the request would fit into the quota if nothing else used it. */
  readonly canFit: boolean;
  /** Says which amounts do not fit: `memory (limits): 2 GiB more asked for, 3 GiB of 4 GiB in use`. */
  readonly words: string;
}

/**
 * Parses the API's message about an exceeded quota. Null if the message is about something else.
 *
 * @see
 * https://github.com/kubernetes/kubernetes/blob/master/staging/src/k8s.io/apiserver/pkg/admission/plugin/resourcequota/controller.go
 */
export function quotaRefusal(message: string): QuotaRefusal | null {
  const match = /exceeded quota: (\S+), requested: (.*), used: (.*), limited: ([^)\n]*)/s.exec(message);
  if (match === null) return null;
  const [asked, used, hard] = [amounts(match[2]), amounts(match[3]), amounts(match[4])];
  const parts = [...asked].map(([name, amount]) => {
    const of = (all: Map<string, string>) => {
      const value = all.get(name);
      return value === undefined ? '?' : amountWords(name, value);
    };
    return `${resourceWords(name)}: ${amountWords(name, amount)} more asked for, ${of(used)} of ${of(hard)} in use`;
  });
  const canFit = [...asked].every(
    ([name, amount]) => numberOf(amount) <= numberOf(hard.get(name) ?? '') || !hard.has(name),
  );
  return { quota: match[1] ?? '', canFit, words: parts.join('; ') };
}

/** Returns a sentence without its subject that says that an object does not fit into the quota. */
export function quotaFaultWords({ quota, words }: QuotaRefusal): string {
  return `finds no room in the quota ${quota} (${words})`;
}

/** Formats an amount of a resource: bytes in MiB or GiB, everything else unchanged. */
export function amountWords(resource: string, quantity: string): string {
  const bytes = /(?:^|\.)(?:memory|storage|ephemeral-storage)$/.test(resource)
    ? parseQuantity(quantity)
    : null;
  if (bytes === null) return quantity;
  const mebibytes = bytes / 2 ** 20;
  if (mebibytes < 1024) return `${tenths(mebibytes)} MiB`;
  return `${tenths(mebibytes / 1024)} GiB`;
}

export function resourceWords(resource: string): string {
  return resource.replace(/^count\//, '').replace(/^(limits|requests)\.(.+)$/, '$2 ($1)');
}

function tenths(number: number): number {
  return Math.round(number * 10) / 10;
}

function numberOf(quantity: string): number {
  return parseQuantity(quantity) ?? 0;
}

/** Parses a list of amounts: `pods=1,limits.memory=512Mi`. */
function amounts(text = ''): Map<string, string> {
  return new Map(
    text.split(',').map((part) => {
      const at = part.indexOf('=');
      return [part.slice(0, at).trim(), part.slice(at + 1).trim()];
    }),
  );
}
