import { type FileHandle, open } from 'node:fs/promises';
import { systemCode } from '../../core/errors.ts';

const CHUNK_BYTES = 64 * 1024;

/**
 * Reads the last complete lines of a file: at most `count`, within about `maxBytes` of its end. Returns an empty list
 * if the file does not exist.
 */
export async function lastLines(path: string, count: number, maxBytes: number): Promise<string[]> {
  let file: FileHandle;
  try {
    file = await open(path, 'r');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  }
  try {
    return await readBack(file, count, maxBytes);
  } finally {
    await file.close();
  }
}

async function readBack(file: FileHandle, count: number, maxBytes: number): Promise<string[]> {
  const { size } = await file.stat();
  let position = size;
  let chunks: Buffer[] = [];
  let newLines = 0;
  while (position > 0 && newLines <= count && size - position < maxBytes) {
    const length = Math.min(CHUNK_BYTES, position);
    position -= length;
    const { buffer } = await file.read(Buffer.alloc(length), 0, length, position);
    for (const byte of buffer) if (byte === 0x0a) newLines += 1;
    chunks = [buffer, ...chunks];
  }
  const lines = Buffer.concat(chunks).toString('utf8').split('\n').slice(0, -1);
  return lines.slice(position > 0 ? 1 : 0).slice(-count);
}
