import { isIP } from 'node:net';
import { resolve } from 'node:path';
import { z } from 'zod';

// Each kind checks and converts the value of a setting. Its error text continues a message that ends in "must be".

/** A setting: its kind, its default as text in the configuration file, and its description. */
export type Setting = readonly [kind: z.ZodType, byDefault: string, meaning: string];

export const text = z.string({ error: 'text' });
export const folder = text.min(1, 'the path of a folder').transform((path) => resolve(path));
export const optionalFile = text.transform((path) => (path === '' ? null : resolve(path)));
export const wholeNumber = (min: number, max: number) => {
  const error = `a whole number from ${min} to ${max}`;
  // Only digits count. Number() alone would turn an empty text into 0, which often means "no limit", and true into 1.
  const digits = z
    .string()
    .regex(/^\s*\d+\s*$/)
    .transform(Number);
  return z
    .union([z.number(), digits], { error })
    .pipe(z.number({ error }).int({ error }).min(min, { error }).max(max, { error }));
};
/** A whole number, or `auto`. `auto` gives null: the code that uses the setting then chooses the number. */
export const autoOrNumber = (min: number, max: number) =>
  z.unknown().transform((given, context) => {
    if (given === 'auto') return null;
    const number = wholeNumber(min, max).safeParse(given);
    if (number.success) return number.data;
    context.addIssue({ code: 'custom', message: `auto, or a whole number from ${min} to ${max}` });
    return z.NEVER;
  });
export const seconds = (min: number, max: number) => wholeNumber(min, max).transform((value) => value * 1000);
export const mebibytes = (min: number, max: number) =>
  wholeNumber(min, max).transform((value) => value * 1024 * 1024);
export const list = z.union(
  [z.string().transform((words) => words.split(/[\s,]+/).filter((item) => item !== '')), z.array(z.string())],
  { error: 'a list, or names with spaces between them' },
);
const hostPortMessage = 'host:port, such as 127.0.0.1:8080 or [::1]:8080, with a port of at most 65535';
export const hostPort = z.string({ error: hostPortMessage }).transform((address, context) => {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]]+)):(\d{1,5})$/.exec(address);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) {
    context.addIssue({ code: 'custom', message: hostPortMessage });
    return z.NEVER;
  }
  return { host: match[1] ?? match[2] ?? '', port };
});
/** The public address of the SSH server: a host name or IP address, with or without a port. May be empty. */
export const publicHost = text.refine(
  (address) => {
    const form = /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9]([-A-Za-z0-9._]*[A-Za-z0-9])?)(:\d{1,5})?$/;
    return address === '' || (form.test(address) && URL.canParse(`ssh://${address}`));
  },
  { error: 'host:port, such as push.example.org:22' },
);
/** The public URL of the HTTP server. May be empty. */
export const publicUrl = text.refine(
  (url) => url === '' || (/^https?:\/\/[^\s/?#@]+(\/[^\s?#]*)?$/.test(url) && URL.canParse(url)),
  { error: 'an address such as https://push.example.org' },
);
/** A host and a port. An empty text gives null. */
export const optionalHostPort = z.union([z.literal('').transform(() => null), hostPort], {
  error: hostPortMessage,
});
// The syntax of RFC 1123, section 2.1, in lower case.
export const hostName = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/;
/** A name that git-check-ref-format(1) accepts, made of characters that a shell need not quote. */
export const branch = text.regex(
  /^(?!.*(\.\.|\/\/|\/\.|\.lock(\/|$)|[./]$))[A-Za-z0-9][-A-Za-z0-9._/]{0,99}$/,
  'the name of a branch, such as main',
);
/** Networks in CIDR form (RFC 4632, RFC 4291). */
export const networks = list.superRefine((items, context) => {
  const wrong = items.find((item) => !isNetwork(item));
  if (wrong !== undefined)
    context.addIssue({
      code: 'custom',
      message: `networks such as 10.0.0.0/8 or fd00::/8; ${wrong} is not a network`,
    });
});
export const flag = z.union([z.boolean(), z.stringbool()], { error: 'true or false' });
export const oneOf = <const Choice extends string>(...choices: Choice[]) =>
  z.enum(choices, { error: `one of ${choices.join(', ')}` });

const pairsMessage =
  'NAME=value, separated by spaces; if a value has spaces, write a map in the configuration file';
/** Variables: `NAME=value`, separated by spaces, or a map. */
export const variables = z.union(
  [
    z.string().transform((line, context) => {
      const items = line.split(/\s+/).filter((item) => item !== '');
      if (items.some((item) => item.indexOf('=') < 1)) {
        context.addIssue({ code: 'custom', message: pairsMessage });
        return z.NEVER;
      }
      return Object.fromEntries(
        items.map((item) => [item.slice(0, item.indexOf('=')), item.slice(item.indexOf('=') + 1)]),
      );
    }),
    z.record(z.string(), z.string()),
  ],
  { error: pairsMessage },
);

// For the syntax, see "Annotations" in the documentation of Kubernetes.
const annotationName =
  /^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?\/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;
/** Annotations of a Kubernetes object: `NAME=value`, separated by spaces, or a map. */
export const annotations = variables.superRefine((given, context) => {
  const wrong = Object.keys(given).find((name) => !annotationName.test(name));
  if (wrong !== undefined)
    context.addIssue({
      code: 'custom',
      message: `annotations such as example.org/name; ${wrong} is not the name of an annotation`,
    });
});

function isNetwork(text: string): boolean {
  const [address = '', bits = '', ...more] = text.split('/');
  const version = isIP(address);
  return (
    version !== 0 && more.length === 0 && /^\d{1,3}$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128)
  );
}
