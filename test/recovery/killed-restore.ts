import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

// Kills this process at a call of one of the functions below, by which `restore` changes or saves names in the data
// folder. The environment variable KILL_AT is the number of this call. Or KILL_WHEN is a path: then the process is killed
// at the first call at which this path exists.
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
