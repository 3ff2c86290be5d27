import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

// Kills this process at a call of the functions by which `restore` changes or saves names in the data folder. The
// environment variable KILL_AT says at which call, or KILL_WHEN names a path: at the first call when it exists.
let calls = 0;

function killing<Words extends unknown[], Result>(work: (...words: Words) => Result) {
  return (...words: Words): Result => {
    const { KILL_AT, KILL_WHEN = '' } = process.env;
    if (++calls === Number(KILL_AT) || fs.existsSync(KILL_WHEN)) process.kill(process.pid, 'SIGKILL');
    return work(...words);
  };
}

fs.renameSync = killing(fs.renameSync);
fs.promises.rename = killing(fs.promises.rename);
// `removeTree` calls this function before it removes a tree.
fs.promises.lstat = killing(fs.promises.lstat) as typeof fs.promises.lstat;
fs.promises.open = killing(fs.promises.open) as typeof fs.promises.open;
syncBuiltinESMExports();
