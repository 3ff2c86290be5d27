import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';

const HOOK = "#!/bin/sh\necho 'Received.'\n";

/** A bare repository as a plain git server has it, with a post-receive hook that prints one line. @returns its folder. */
export async function makeBareRepository(parent: string, name: string): Promise<string> {
  const folder = join(parent, `${name}.git`);
  await execa('git', ['init', '--quiet', '--bare', '--template=', '--initial-branch=main', folder]);
  await execa('git', ['-C', folder, 'config', 'http.receivepack', 'true']);
  await execa('mkdir', [join(folder, 'hooks')]);
  await writeFile(join(folder, 'hooks/post-receive'), HOOK, { mode: 0o755 });
  return folder;
}
