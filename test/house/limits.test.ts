import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { test } from 'node:test';
import { concurrentDeployments } from '../../src/choose-back-ends.ts';
import { readConfig } from '../../src/config.ts';
import { settings } from '../../src/settings/settings-table.ts';

const root = resolve(import.meta.dirname, '../..');
const page = await readFile(resolve(root, 'docs/limits.md'), 'utf8');
const rows = page.split('\n').filter((line) => line.startsWith('| '));

/** Numeric settings that are not limits. */
const NO_LIMITS = [
  'sandbox_uid',
  'pod_uid',
  'settle_time',
  'ingress_time',
  'ldap_cache_time',
  'pod_memory_reserved',
  'pod_disk_reserved',
];

test('docs/limits.md lists every numeric setting that is a limit, with its default', () => {
  const config = readConfig({});
  for (const [name, [, byDefault]] of Object.entries(settings)) {
    const value = config[name as keyof typeof config];
    if (!/^\d+$/.test(byDefault) || typeof value !== 'number' || NO_LIMITS.includes(name)) continue;
    const row =
      rows.find((line) => line.includes(`\`${name}\``)) ?? assert.fail(`${name} is not on the page`);
    assert.match(
      row.replaceAll(',', ''),
      new RegExp(`\\| ${byDefault}\\b`),
      `${name} has another default on the page`,
    );
  }
});

test('docs/limits.md has the defaults of concurrent_deployments for one machine and for a cluster, and a value in the setting overrides the default', () => {
  const row = rows.find((line) => line.includes('`concurrent_deployments`'));
  const { concurrent_deployments } = readConfig({});
  const local = concurrentDeployments({ builder: 'local', concurrent_deployments });
  const cluster = concurrentDeployments({ builder: 'kubernetes', concurrent_deployments });
  assert.ok(row?.includes(` ${local} on one machine, ${cluster} in a cluster `), row);
  assert.ok(cluster > local);
  assert.equal(concurrentDeployments({ builder: 'local', concurrent_deployments: 7 }), 7);
});

for (const { file, constant, row } of [
  {
    file: 'http/body.ts',
    constant: 'MAX_EXPANSION = 100',
    row: /by gzip, expanded +\| 1 MiB plus 100 times /,
  },
  {
    file: 'http/listener/encrypted-bytes.ts',
    constant: 'HANDSHAKE_BYTES = 8 * 1024',
    row: /bytes of a TLS handshake +\| 8 KiB/,
  },
  {
    file: 'http/listener/stalled-connections.ts',
    constant: 'MAX_WAITING = 20',
    row: /connections to tools on which bytes wait, .* \| 20 /,
  },
  {
    file: 'http/listener/stalled-connections.ts',
    constant: 'SCARCE_MS = 10_000',
    row: /bytes wait on a WebSocket, .* 10 s on any /,
  },
  {
    file: 'git/git-pack-services.ts',
    constant: 'MAX_PARKED = 2000',
    row: /tags of atomic pushes to one tool that wait .* \| 2,000 /,
  },
  {
    file: 'deploy/previews.ts',
    constant: 'COPIES_AT_ONCE = 3',
    row: /copied into repositories of previews at once +\| 3, of one login or one tool 1 /,
  },
  { file: 'deploy/previews.ts', constant: 'COPY_MS = 5 * 60_000', row: /time of such a copy +\| 5 min / },
  {
    file: 'deploy/old-refs.ts',
    constant: 'MAX_RELEASE_REFS = 1000',
    row: /refs of releases .* \| the newest 1,000, and older ones /,
  },
  {
    file: 'deploy/old-refs.ts',
    constant: 'MAX_COMMITS = 1000',
    row: /temporary refs of pushed commits that did not go live.* \| 1,000, for 14 days /,
  },
  {
    file: 'run/logs/tool-log.ts',
    constant: 'MAX_PROCESSES = 200',
    row: /logs kept of the processes of a tool +\| 200 /,
  },
  {
    file: 'builder/local/shared-files.ts',
    constant: 'MAX_COPIES = 100_000',
    row: /files that tools of one machine share, .* \| 100,000 /,
  },
  {
    file: 'sandbox/process/kernel-memory.ts',
    constant: 'MOST_BYTES = 32 * 1024 * 1024',
    row: /memory of the kernel for messages of netlink.* \| 32 MiB /,
  },
  {
    file: 'sandbox/process/kernel-memory.ts',
    constant: 'MOST_LOCKS = 2000',
    row: /locks of files, of all processes of a tool, .* \| 2,000 /,
  },
  {
    file: 'sandbox/process/kernel-memory.ts',
    constant: 'MOST_WATCHES = 50_000',
    row: /watches of epoll, of all processes of a tool, .* \| 50,000 /,
  },
  { file: 'auth/login-queue.ts', constant: 'MAX_AT_ONCE = 8', row: /checked at once +\| 8 / },
  {
    file: 'auth/login-queue.ts',
    constant: 'MAX_AT_ONCE_KNOWN = 6',
    row: /of these, for known logins +\| 6 /,
  },
  {
    file: 'auth/login-queue.ts',
    constant: 'MAX_AT_ONCE_SLOWED = 2',
    row: /logins after too many failures +\| 2 /,
  },
  {
    file: 'sandbox/process/kernel-memory.ts',
    constant: 'MOST_CONNECTIONS = 1.25 * MOST_TCP',
    row: /open TCP connections of a tool, also those .* \| 5,000 /,
  },
  {
    file: 'sandbox/fence/flow-limit.ts',
    constant: 'MOST_TCP = 4000',
    row: /TCP connections of a tool to the network.* \| 4,000 /,
  },
  {
    file: 'sandbox/fence/flow-limit.ts',
    constant: 'MOST_UDP = 8000',
    row: /between which a tool sends UDP.* \| 8,000 /,
  },
  {
    file: 'auth/ldap/connection/ldap-messages.ts',
    constant: 'MAX_ENTRY_BYTES = 1024 * 1024',
    row: /size of one entry in LDAP +\| 1 MiB /,
  },
  { file: 'auth/ldap/ldap-entry.ts', constant: 'MAX_KEYS = 200', row: /keys of one entry in LDAP +\| 200 / },
  {
    file: 'auth/ldap/connection/ldap-answers.ts',
    constant: 'MAX_ANSWER_BYTES = 8 * MIB',
    row: /one answer of .* \| 8 MiB /,
  },
  {
    file: 'auth/ldap/connection/ldap-answers.ts',
    constant: 'MAX_LISTING_BYTES = 64 * MIB',
    row: /all pages of one list in LDAP +\| 64 MiB /,
  },
  {
    file: 'auth/ldap/connection/ldap-answers.ts',
    constant: 'MAX_TOGETHER_BYTES = 128 * MIB',
    row: /all unfinished answers of LDAP +\| 128 MiB /,
  },
  { file: 'auth/login-queue.ts', constant: 'MAX_AT_ONCE_UNKNOWN = 6', row: /not known from .* \| 6 / },
  {
    file: 'auth/login-queue.ts',
    constant: 'MAX_AT_ONCE_OF_ADDRESS = 4',
    row: /of these, for one address +\| 4 /,
  },
  { file: 'auth/login-queue.ts', constant: 'MAX_AT_ONCE_OF_NAME = 2', row: /for one user name +\| 2 / },
  { file: 'auth/login-queue.ts', constant: 'MAX_WAITING = 1000', row: /logins of all that wait +\| 1,000 / },
  {
    file: 'auth/login-queue.ts',
    constant: 'MAX_WAITING_OF_ADDRESS = 50',
    row: /logins of one address that wait +\| 50 /,
  },
  { file: 'auth/login-queue.ts', constant: 'MAX_WAIT_MS = 20_000', row: /time that a login waits +\| 20 s / },
  {
    file: 'auth/login-throttle.ts',
    constant: 'FREE_TRIES = 5',
    row: /wrong passwords of one user name .* \| 5 /,
  },
  {
    file: 'auth/login-throttle.ts',
    constant: 'FREE_TRIES_OF_ADDRESS = 30',
    row: /wrong logins of all names .* \| 30 /,
  },
  {
    file: 'core/fair-share/followers.ts',
    constant: 'MAX_OF_CREDENTIAL = 10',
    row: /one key, password or token .* \| 10 /,
  },
  {
    file: 'core/fair-share/followers.ts',
    constant: 'MAX_OF_PERSON = 20',
    row: /one person reads at once +\| 20 /,
  },
  { file: 'core/fair-share/followers.ts', constant: 'MAX_OF_TOOL = 50', row: /logs of one tool .* \| 50 / },
  {
    file: 'core/fair-share/followers.ts',
    constant: 'MAX_OF_ALL = 500',
    row: /logs that all read at once +\| 500 /,
  },
  {
    file: 'core/fair-share/followers.ts',
    constant: 'STALL_MS = 2 * 60_000',
    row: /may take no output +\| 2 min /,
  },
  {
    file: 'run/logs/log-follower.ts',
    constant: 'MAX_CHARACTERS_OF_ALL = 32 * 1024 * 1024',
    row: /wait for readers.* \| 32 MiB /,
  },
  {
    file: 'git/repository-turns.ts',
    constant: 'MAX_PUSHES_OF_PERSON = 40',
    row: /pushes of one person .* \| 40 /,
  },
  {
    file: 'git/repository-turns.ts',
    constant: 'MAX_PUSHES_OF_TOOL = 30',
    row: /pushes to one tool .* \| 30 /,
  },
  {
    file: 'git/fetch-places.ts',
    constant: 'MAX_FETCHES = 200',
    row: /clones and fetches under way +\| 200 /,
  },
  {
    file: 'git/fetch-places.ts',
    constant: 'WEIGHT_OF_CREDENTIAL = 0.1',
    row: /key, password or token +\| a tenth of those that are free/,
  },
  {
    file: 'git/fetch-places.ts',
    constant: 'WEIGHT_OF_PERSON = 0.25',
    row: /of one person, and of one tool +\| a quarter of those that are free/,
  },
  {
    file: 'ssh/ssh-door.ts',
    constant: 'MAX_LOGGED_IN = 1000',
    row: /connections of everybody after the login +\| 1,000 /,
  },
  {
    file: 'ssh/admission.ts',
    constant: 'WEIGHT_OF_PERSON = 0.1',
    row: /of these, of one person +\| a tenth of those that are free/,
  },
  {
    file: 'core/fair-share/reading-time.ts',
    constant: 'PART = 0.1',
    row: /reading input that costs much.* \| a tenth for each/,
  },
  {
    file: 'core/fair-share/reading-time.ts',
    constant: 'PART_OF_ALL = 0.25',
    row: /reading input that costs much.* a quarter for all/,
  },
  {
    file: 'core/fair-share/reading-time.ts',
    constant: 'USUAL_COUNTS = 0.2',
    row: /reading input that costs no more than usual.* \| half for each/,
  },
  {
    file: 'core/fair-share/reading-time.ts',
    constant: 'ROUND_MS = 2',
    row: /reading from one address or one process of a tool without a break +\| 2 ms /,
  },
  {
    file: 'deploy/line/turns.ts',
    constant: 'MAX_WAITING_OF_TOOL = 20',
    row: /deployments of one tool that wait +\| 20 /,
  },
  {
    file: 'deploy/line/turns.ts',
    constant: 'MAX_WAITING_OF_PERSON = 40',
    row: /deployments of one person that wait +\| 40 /,
  },
  { file: 'deploy/deployment-log.ts', constant: 'MAX_LOGS = 200', row: /logs of deployments .* \| 200,/ },
  { file: 'deploy/deployment-log.ts', constant: 'MAX_LOG_BYTES = 1024 * 1024 * 1024', row: /at most 1 GiB/ },
  {
    file: 'store/backups/release-read-back.ts',
    constant: 'MAX_COPIES = 100',
    row: /copies of releases .* \| 100 /,
  },
  { file: 'store/tables/old-rows.ts', constant: 'MAX_ROWS = 1000', row: /that the store keeps.* \| 1,000 / },
  {
    file: 'store/audit-file.ts',
    constant: 'MAX_AUDIT_BYTES = 256 * 1024 * 1024',
    row: /audit\.log.* \| 256 MiB/,
  },
  { file: 'store/audit-file.ts', constant: 'MAX_AUDIT_FILES = 7', row: /256 MiB, and 7 full files/ },
  {
    file: 'store/audit-file.ts',
    constant: 'MAX_REFUSED_BYTES = 64 * 1024 * 1024',
    row: /refused\.log.* \| 64 MiB/,
  },
  {
    file: 'git/archive/source-archives.ts',
    constant: 'MAX_ARCHIVES = 20',
    row: /archives that `deploy` receives at once +\| 20 /,
  },
  {
    file: 'git/archive/archive-entries.ts',
    constant: 'SLACK = 4',
    row: /entries of an archive +\| four times the files of a commit /,
  },
  {
    file: 'git/archive/timely.ts',
    constant: 'SILENCE_MS = 60_000',
    row: /client that sends an archive +\| 60 s /,
  },
  { file: 'store/audit-file.ts', constant: 'MAX_REFUSED_FILES = 1', row: /64 MiB, and 1 full file/ },
  {
    file: 'git/repository-turns.ts',
    constant: 'MAX_PUSHES_OF_PERSON_TO_TOOL = 20',
    row: /one person to one tool under way +\| 20 /,
  },
  { file: 'git/push/incoming.ts', constant: 'LIST_MS = 60_000', row: /whole list of refs +\| 60 s / },
  {
    file: 'sandbox/process/resource-limits.ts',
    constant: 'MAX_OPEN_FILES = 2048',
    row: /files that one process may have open.*\| 2,048 /,
  },
  {
    file: 'sandbox/disk/hidden-disk-use.ts',
    constant: 'MAX_DESCRIPTORS = 65_536',
    row: /tables of open files of all processes of one sandbox.*\| 65,536 /,
  },
  {
    file: 'builder/local/shared-files.ts',
    constant: 'MAX_ENTRIES = 20_000',
    row: /of one build that can be shared +\| 20,000 files and folders, and 1 GiB /,
  },
  {
    file: 'http/request-shares.ts',
    constant: 'WEIGHT_OF_PERSON = 0.1',
    row: /so 46 if nobody else has any +\|/,
  },
  {
    file: 'http/serve-command.ts',
    constant: 'FIRST_LINE_MS = 10_000',
    row: /line of a command has arrived +\| 10 s /,
  },
  { file: 'core/names.ts', constant: 'MAX_CONFIG_VARS = 200', row: /config vars +\| 200 / },
  {
    file: 'core/variables/config-changes.ts',
    constant: 'MAX_CONFIG_VAR_BYTES = 32 * 1024',
    row: /one config var +\| 32 KiB /,
  },
  {
    file: 'core/variables/config-changes.ts',
    constant: 'MAX_TOTAL_BYTES = 512 * 1024',
    row: /all config vars of a tool +\| 512 KiB /,
  },
  {
    file: 'deploy/release/config-vars.ts',
    constant: 'MAX_RELEASE_BYTES_A_DAY = 64 * 1024 * 1024',
    row: /in 24 hours store +\| 64 MiB /,
  },
]) {
  test(`docs/limits.md has the value ${constant} of ${file}`, async () => {
    const source = await readFile(resolve(root, 'src', file), 'utf8');
    assert.ok(source.includes(`const ${constant};`), 'the code has another value');
    assert.ok(
      rows.some((line) => row.test(line)),
      'the page has another value',
    );
  });
}
