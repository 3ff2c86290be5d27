import { CachedDirectory } from '../../../src/auth/ldap/directory-cache.ts';
import { directoryContract } from '../../contracts/directory.ts';
import { hold, openOn } from '../../support/slapd/directory.ts';
import { TestSlapd } from '../../support/slapd/slapd.ts';

const starttls = (slapd: TestSlapd) => ({ ldap_servers: `ldap://127.0.0.1:${slapd.port}` });
const plain = (slapd: TestSlapd) => ({ ...starttls(slapd), ldap_starttls: 'false' });

for (const [name, settings] of [
  ['LdapDirectory over ldaps://', () => ({})],
  ['LdapDirectory with StartTLS', starttls],
  ['LdapDirectory on this machine without TLS', plain],
] as const) {
  directoryContract(name, async (description) => {
    const slapd = await TestSlapd.start();
    await hold(slapd, description);
    const directory = await openOn(slapd, settings(slapd));
    return {
      directory,
      change: (next) => hold(slapd, next),
      takeAway: () => slapd.stop(),
      [Symbol.asyncDispose]: async () => {
        await directory.close();
        await slapd[Symbol.asyncDispose]();
      },
    };
  });
}

// The clock of the cache stands still, so every answer stays cached. Each change moves the clock on by 60 s.
directoryContract('LdapDirectory with a cache of 60 s', async (description) => {
  const slapd = await TestSlapd.start();
  await hold(slapd, description);
  let now = 0;
  const times = { cacheMs: 60_000, limitMs: 5000 };
  const directory = new CachedDirectory(await openOn(slapd), times, () => now);
  return {
    directory,
    change: async (next) => {
      await hold(slapd, next);
      now += 60_000;
    },
    takeAway: async () => {
      await slapd.stop();
      now += 60_000;
    },
    [Symbol.asyncDispose]: async () => {
      await directory.close();
      await slapd[Symbol.asyncDispose]();
    },
  };
});
