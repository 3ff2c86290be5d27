import assert from 'node:assert/strict';
import {
  chmodSync,
  chownSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { AuditEvent } from '../../src/core/log/audit.ts';
import { auditFile } from '../../src/store/audit-file.ts';
import { wikibot } from '../support/store-records.ts';

const folder = mkdtempSync(join(tmpdir(), 'audit-'));
after(() => rmSync(folder, { recursive: true }));

const who = { uid: 'alice', door: 'ssh', credential: 'ssh ED25519 SHA256:x', address: '::1' } as const;
const event: AuditEvent = { what: 'rollback', who, tool: wikibot, facts: { words: ['v2\n{'] } };
const errors: unknown[] = [];
const log = { error: (facts: unknown) => void errors.push(facts) } as never;

test('each audit event is one line of JSON in a file that only its owner can read, also after the file was moved', () => {
  const path = join(folder, 'audit.log');
  const audit = auditFile(folder, log);
  audit(event);
  renameSync(path, `${path}.1`);
  audit(event);
  audit({ ...event, what: 'restart' });
  assert.equal(readFileSync(`${path}.1`, 'utf8').split('\n').length, 2);
  const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
  assert.equal(lines.length, 2);
  const { time, ...fields } = JSON.parse(lines[0] ?? '');
  assert.match(time, /^\d{4}-\d\d-\d\dT.*Z$/);
  assert.deepEqual(fields, { what: 'rollback', tool: 'wikibot', ...who, words: ['v2\n{'] });
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.deepEqual(errors, []);
});

test('an audit.log that a command of root makes belongs to the owner of the data folder', {
  skip: process.getuid?.() !== 0,
}, () => {
  const theirs = mkdtempSync(join(folder, 'theirs-'));
  chownSync(theirs, 54_321, 54_322);
  auditFile(theirs, log)(event);
  const { uid, gid } = statSync(join(theirs, 'audit.log'));
  assert.deepEqual([uid, gid], [54_321, 54_322]);
});

test('threat 58: a claimed user name in audit.log cannot control the terminal of a reader', () => {
  const inner = mkdtempSync(join(folder, 'plain-'));
  const uid = 'a\u009b31m\u007f\u202egnp.\u2028\u2066\u200b\ufeff\u001b]0;x\u0007';
  auditFile(inner, log)({ ...event, who: { ...who, uid } });
  const text = readFileSync(join(inner, 'audit.log'), 'utf8');
  assert.match(text, /^[\x20-\x7e]+\n$/);
  assert.equal(JSON.parse(text).uid, uid);
});

test('threat 83: after a line of audit.log that a full disk cut short, the next line is complete', () => {
  const inner = mkdtempSync(join(folder, 'torn-'));
  const path = join(inner, 'audit.log');
  const audit = auditFile(inner, log);
  const half = '{"time":"2026';
  writeFileSync(path, half);
  chmodSync(path, 0o600);
  renameSync(path, `${path}.half`);
  symlinkSync('/dev/full', path);
  audit(event);
  renameSync(`${path}.half`, path);
  audit(event);
  audit(event);
  const [torn, ...whole] = readFileSync(path, 'utf8').trimEnd().split('\n');
  assert.equal(torn, half);
  assert.deepEqual(
    whole.map((line) => JSON.parse(line).what),
    ['rollback', 'rollback'],
  );
  assert.match(JSON.stringify(errors), /ENOSPC/);
});

test('threat 83: audit.log gets at most 300 characters of a long text', () => {
  const inner = mkdtempSync(join(folder, 'long-'));
  const words = ['x'.repeat(60_000)];
  auditFile(inner, log)({ ...event, facts: { words, updates: [{ ref: `refs/x/${words[0]}` }] } });
  const text = readFileSync(join(inner, 'audit.log'), 'utf8');
  assert.equal(JSON.parse(text).words[0], `${'x'.repeat(299)}…`);
  assert.equal(JSON.parse(text).updates[0].ref.length, 300);
});

test('if audit.log cannot be written, the operator’s log has the event', () => {
  auditFile(join(folder, 'nowhere'), log)(event);
  assert.match(JSON.stringify(errors), /ENOENT.*rollback/s);
});

test('threat 83: audit.log does not grow for ever, and refused logins of strangers do not fill it', () => {
  const inner = mkdtempSync(join(folder, 'full-'));
  const limits = (name: string) => ({ name, fileBytes: 2000, kept: 2 });
  const audit = auditFile(inner, log, {
    actions: limits('audit'),
    refusals: limits('refused'),
    excess: limits('excess'),
  });
  audit(event);
  for (let count = 0; count < 200; count += 1) audit({ ...event, what: 'login refused', tool: null });
  assert.equal(JSON.parse(readFileSync(join(inner, 'audit.log'), 'utf8')).what, 'rollback');
  for (let count = 0; count < 200; count += 1) audit({ ...event, who: { ...who, uid: `bob${count}` } });
  const files = readdirSync(inner);
  assert.equal(files.length, 6);
  for (const file of files) assert.ok(statSync(join(inner, file)).size < 2500);
});

test('threat 83: a person who sends commands all day cannot fill audit.log, so audit.log keeps what other people did', () => {
  const inner = mkdtempSync(join(folder, 'flood-'));
  const limits = (name: string) => ({ name, fileBytes: 8000, kept: 2 });
  const audit = auditFile(inner, log, {
    actions: limits('audit'),
    refusals: limits('refused'),
    excess: limits('excess'),
  });
  audit(event);
  for (let count = 0; count < 1000; count += 1) audit({ ...event, who: { ...who, uid: 'mallory' } });
  audit({ ...event, what: 'restart' });
  const lines = readFileSync(join(inner, 'audit.log'), 'utf8').trimEnd().split('\n');
  const [first, last] = [lines[0], lines.at(-1)].map((line) => JSON.parse(line ?? ''));
  assert.deepEqual([first.uid, first.what, last.uid, last.what], ['alice', 'rollback', 'alice', 'restart']);
  assert.match(readFileSync(join(inner, 'excess.log'), 'utf8'), /"uid":"mallory"/);
});

test('threat 15: no line of the audit log, and no error about it, has the secret of a deploy token', () => {
  const own = mkdtempSync(join(folder, 'tokens-'));
  const secret = 'AbCdEfGhIjKlMnOpQrStUvWx-z01_345';
  const token = `tfp_abcdefghij_${secret}`;
  const words = [token, `https://ci:${token}@host/wikibot.git, and ${token}`, `${'x'.repeat(270)}${token}`];
  const typed: AuditEvent = {
    ...event,
    who: { ...who, uid: token },
    facts: { words, updates: [{ ref: token }] },
  };
  auditFile(own, log)(typed);
  const line = readFileSync(join(own, 'audit.log'), 'utf8');
  assert.doesNotMatch(line, /_AbCd/);
  assert.match(line, /https:\/\/ci:tfp_abcdefghij_…@host\/wikibot\.git, and tfp_abcdefghij_…"/);
  const before = errors.length;
  auditFile(join(own, 'missing'), log)(typed);
  assert.equal(errors.length, before + 1);
  assert.match(JSON.stringify(errors.at(-1)), /tfp_abcdefghij_…@host/);
  assert.doesNotMatch(JSON.stringify(errors.at(-1)), /_AbCd/);
});
