import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { OutputLines } from '../../../src/builder/output-lines.ts';
import { allSteps } from '../../../src/core/fair-share/time-shares.ts';
import { masking } from '../../../src/core/masking/masking.ts';

test('threat 63: the base64 form, the URL-encoded form and single lines of a config var’s value are masked', async () => {
  const mask = await masking({ KEY: 'line one\nline/two!' }, 'wc');
  for (const form of [
    'line/two!',
    encodeURIComponent('line/two!'),
    Buffer.from('line one\nline/two!').toString('base64'),
  ]) {
    assert.equal(mask(`<${form}>`).includes('[config var KEY]'), true, form);
    assert.equal(mask(`<${form}>`).includes(form), false, form);
  }
});

test('threat 63: if one secret contains another, the longer secret is masked', async () => {
  const mask = await masking({ A: 'secret', B: 'secret-and-more' }, 'wc');
  assert.equal(mask('secret-and-more secret'), '[config var B] [config var A]');
});

test('a config var’s value with characters that are special in regular expressions is masked', async () => {
  assert.equal((await masking({ KEY: 'a.b*c(d)' }, 'wc'))('a.b*c(d) aXbbc(d)'), '[config var KEY] aXbbc(d)');
});

test('threat 63: a secret inside longer base64, as in an HTTP header, is masked', async () => {
  const secret = 'hunter2/hunter?2';
  const mask = await masking({ KEY: secret }, 'wc');
  for (const before of ['', 'u', 'us', 'user:', 'a much longer beginning:']) {
    for (const encoding of ['base64', 'base64url'] as const) {
      const encoded = Buffer.from(`${before}${secret} and more`).toString(encoding);
      const masked = mask(`Authorization: Basic ${encoded}`);
      assert.match(masked, /\[config var KEY\]/, encoded);
      const left = Buffer.from(masked.replace('[config var KEY]', '    ').slice(21), 'base64').toString(
        'latin1',
      );
      assert.doesNotMatch(left, /unter2|nter\?2/, encoded);
    }
  }
});

test('each line of a config var’s value of 4000 lines is masked', async () => {
  const line = (index: number) => `line number ${index} of a long value`;
  const mask = await masking(
    {
      LONG: Array.from({ length: 4000 }, (_, index) => line(index)).join('\n'),
      B: 'other secret',
    },
    'wc',
  );
  assert.equal(
    mask(`<${line(3999)}> <other secret> <line number 4>`),
    '<[config var LONG]> <[config var B]> <line number 4>',
  );
});

/** In each case, secrets that all begin alike, and a line that repeats their beginning but contains none of them. */
const ALIKE = [
  {
    name: 'long lines of one letter',
    vars: Object.fromEntries(
      Array.from({ length: 50 }, (_, index) => [`V${index}`, `${'a'.repeat(8000 + index)}b`]),
    ),
    line: 'a'.repeat(16_000),
  },
  {
    name: 'many short lines of one letter',
    vars: { V: Array.from({ length: 250 }, (_, index) => `${'a'.repeat(6 + index)}b`).join('\n') },
    line: 'a'.repeat(16_000),
  },
  {
    name: 'ten values of 32 kB with many lines',
    vars: Object.fromEntries(
      Array.from({ length: 10 }, (_, index) => [
        `V${index}`,
        Array.from({ length: 900 }, (_, line) => `the same beginning for all ${index}.${line}`).join('\n'),
      ]),
    ),
    line: 'the same beginning for all '.repeat(600),
  },
];
for (const { name, vars, line } of ALIKE) {
  test(`threat 55: masking a line in which secrets seem to begin many times takes less than 8 ms: ${name}`, async () => {
    const mask = await masking(vars, 'wc');
    // Measures processor time, because a busy machine also does other work.
    const before = process.cpuUsage();
    for (let count = 0; count < 100; count++) assert.equal(mask(line), line);
    const perLineMs = process.cpuUsage(before).user / 1000 / 100;
    // If each position of the line is compared with each secret, a line takes 15 to 30 ms.
    assert.ok(perLineMs < 8, `${perLineMs} ms`);
  });
}

test('threat 240: a line of 64 kB with colours is masked in steps that each take less than 10 ms of the processor, with config vars of 512 kB', async (context) => {
  const letters = (count: number) => randomBytes(count).toString('base64').slice(0, count);
  const vars = Object.fromEntries(
    Array.from({ length: 16 }, (_, index) => [
      `V${index}`,
      Array.from({ length: 760 }, () => letters(42)).join('\n'),
    ]),
  );
  // Every few letters of the line, a secret seems to begin.
  const lines = Object.values(vars).flatMap((value) => value.split('\n'));
  const line = lines.map((one, index) => `${one.slice(0, 5)}${index % 8 === 0 ? '\u001b[1m' : ''}`).join('');
  const { steps } = await masking(vars, 'wc');
  const masked = steps(line.slice(0, 64 * 1024));
  const took: number[] = [];
  for (let isDone = false; !isDone; ) {
    const before = process.threadCpuUsage();
    isDone = masked.next().done === true;
    took.push(process.threadCpuUsage(before).user / 1000);
  }
  context.diagnostic(`${took.reduce((sum, ms) => sum + ms).toFixed(0)} ms in ${took.length} steps`);
  assert.ok(took.length > 20);
  // A garbage collection may fall into one step, so the longest step does not count.
  const [, ...most] = took.toSorted((a, b) => b - a);
  assert.ok((most[0] ?? 0) < 10, `${most.slice(0, 5)} ms`);
});

test('threat 240: while the server prepares to mask six large sets of config vars, it has at least half of its time for other work', async () => {
  const vars = Array.from({ length: 6 }, () => ({ KEY: randomBytes(192 * 1024).toString('base64') }));
  const startedAt = performance.now();
  const before = process.threadCpuUsage();
  const masks = vars.map((one, index) => masking(one, `tool ${index}`));
  await wait(1000);
  const used = process.threadCpuUsage(before);
  const part = (used.user + used.system) / 1000 / (performance.now() - startedAt);
  await Promise.all(masks);
  assert.ok(part < 0.5, `${part}`);
});

test('threat 63: overlapping secrets are masked completely', async () => {
  const vars = { FIRST: 'alpha-bravo', SECOND: 'bravo-charlie', THIRD: 'charlie-delta' };
  const mask = await masking(vars, 'wc');
  const whole = 'alpha-bravo-charlie-delta';
  for (const form of [
    whole,
    `alpha\u001b[31m-bravo-\u001b[0mcharlie-delta`,
    [...whole].map((letter) => `%${letter.charCodeAt(0).toString(16)}`).join(''),
    Buffer.from(whole).toString('base64'),
  ]) {
    assert.match(mask(`<${form}>`), /^<\[config var SECOND\](==?)?>$/, form);
  }
  assert.equal(mask('alpha-bravo charlie-delta'), '[config var FIRST] [config var THIRD]');
});

test('threat 63: overlapping secrets are masked completely, wherever the output is cut into chunks', async () => {
  const mask = await masking({ FIRST: 'alpha-brävo', SECOND: 'brävo-charlie' }, 'wc');
  const output = Buffer.from('<alpha-brävo-charlie>\n');
  for (let cut = 0; cut <= output.length; cut++) {
    const seen: string[] = [];
    const lines = new OutputLines({ mask: mask.steps, line: (text) => seen.push(text) });
    allSteps(lines.write(output.subarray(0, cut)));
    allSteps(lines.write(output.subarray(cut)));
    allSteps(lines.end());
    assert.deepEqual(seen, ['<[config var SECOND]>']);
  }
});

test('threat 63: if occurrences of a secret overlap, as those of abcabcabc in a row of abc, the whole row is masked', async () => {
  const mask = await masking({ A: 'abcabcabc' }, 'wc');
  assert.equal(mask(`<${'abc'.repeat(50)}>`), '<[config var A]>');
});

for (const { name, form } of [
  { name: 'JSON', form: 'p\\"ss w!rd/\\\\x' },
  { name: 'a URL (RFC 3986)', form: 'p%22ss%20w%21rd%2F%5Cx' },
  { name: 'a URL with small hexadecimal digits', form: 'p%22ss%20w!rd%2f%5cx' },
  { name: 'a web form', form: 'p%22ss+w%21rd%2F%5Cx' },
  { name: 'JSON with all letters escaped', form: 'p\\u0022s\\u0073 w!rd\\/\\\\x' },
  { name: 'a path of a URL', form: 'p%22ss%20w%21rd/%5Cx' },
  { name: 'text with colours', form: '\u001b[01;31m\u001b[Kp"ss\u001b[m\u001b[K w!rd/\\x' },
  { name: 'text with characters that are removed later', form: 'p"s\u0000s w\u0007!rd/\\x' },
]) {
  test(`threat 63: a config var’s value is masked in ${name}`, async () => {
    const mask = await masking({ TOKEN: 'p"ss w!rd/\\x' }, 'wc');
    assert.equal(mask(`a=${form};`), 'a=[config var TOKEN];');
  });
}

test('masking keeps the colours of a line without a secret', async () => {
  const line = '\u001b[32mgreen\u001b[0m';
  assert.equal((await masking({ TOKEN: 'password' }, 'wc'))(line), line);
});

test('threat 63: the lines of a value are masked if a carriage return separates them, or if a line ends in half a surrogate pair', async () => {
  assert.equal(
    (await masking({ TOKEN: 'first1\rsecond\ud800' }, 'wc'))('second\ufffd first1'),
    '[config var TOKEN] [config var TOKEN]',
  );
});

const PRIVATE_KEY = [
  '-----BEGIN PRIVATE KEY-----',
  ...Array.from({ length: 25 }, (_, index) => createHash('sha384').update(`line ${index}`).digest('base64')),
  '-----END PRIVATE KEY-----',
].join('\n');
for (const { name, value } of [
  { name: 'many lines', value: PRIVATE_KEY },
  { name: 'one long line', value: PRIVATE_KEY.replaceAll('\n', '') },
]) {
  for (const before of ['', 'KEY=', 'a longer beginning of ']) {
    test(`threat 63: base64 of “${before}” and a secret of ${name}, printed over several lines, shows no part of the secret`, async () => {
      const mask = await masking({ KEY: value, OTHER: 'other secret' }, 'wc');
      const lines = Buffer.from(before + value)
        .toString('base64')
        .replace(/.{76}/g, '$&\n')
        .split('\n');
      const shown = lines.slice(0, -1).map((line) => Buffer.from(mask(line), 'base64').toString('latin1'));
      for (const [index, line] of lines.slice(0, -1).entries()) {
        assert.match(mask(line), /\[config var KEY\]=*$/, `line ${index}`);
        // Text that stands before the value may stay visible.
        assert.ok(mask(line).indexOf('[') <= Math.ceil((before.length * 4) / 3) + 2, shown[index]);
      }
    });
  }
}

test('base64 of other texts is not masked, even if both the text and a secret have a row of dashes or zeros', async () => {
  const mask = await masking(
    { KEY: `title ${'-'.repeat(40)}\nnumber ${'0'.repeat(40)}\n${PRIVATE_KEY}` },
    'wc',
  );
  for (const text of [
    '-'.repeat(57),
    '0'.repeat(57),
    'an ordinary text, long enough to hold blocks of bytes',
  ]) {
    const line = Buffer.from(text).toString('base64');
    assert.equal(mask(line), line);
  }
});

test('a line of a secret with fewer than six characters is not masked alone, but the whole secret is masked', async () => {
  const mask = await masking({ PINS: '1234\n5678\n9012' }, 'wc');
  assert.equal(mask('1234'), '1234');
  assert.equal(mask(JSON.stringify('1234\n5678\n9012')), '"[config var PINS]"');
});
