export function paxRecord(key: string, value: string): Buffer {
  const rest = Buffer.byteLength(` ${key}=${value}\n`);
  const digits = String(rest + String(rest + 1).length).length;
  return Buffer.from(`${rest + digits} ${key}=${value}\n`);
}

/** Returns a header, and its content, which describes the next entry (`x`, `L`) or all later entries (`g`). */
export function longHeader(type: 'x' | 'g' | 'L', content: Buffer): Buffer {
  const padding = Buffer.alloc((512 - (content.length % 512)) % 512);
  return Buffer.concat([ustarHeader('header', type, content.length), content, padding]);
}

export function pax(key: string, value: string): Buffer {
  return longHeader('x', paxRecord(key, value));
}

/** Returns a tar header in the format of POSIX ustar. By default, it is the header of an empty file. */
export function ustarHeader(name: string, type = '0', size = 0): Buffer {
  const header = Buffer.alloc(512);
  header.write(name);
  header.write('0000644\0', 100);
  header.write(`${size.toString(8).padStart(11, '0')}\0`, 124);
  header.write('00000000000\0', 136);
  header.write('        ', 148);
  header.write(type, 156);
  header.write('ustar\x0000', 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return header;
}
