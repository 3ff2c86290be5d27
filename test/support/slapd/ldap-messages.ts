import { BerReader, BerWriter, ProtocolOperation } from 'ldapts';

/** A request that a client has sent. */
export interface Request {
  readonly id: number;
  readonly isBind: boolean;
  /** All bytes of the request as text, in which a test finds the names that the request contains. */
  readonly text: string;
}

/** The requests in a chunk that a client has sent. Each request must be whole. */
export function requestsIn(chunk: Buffer): Request[] {
  const requests: Request[] = [];
  for (let at = 0; at < chunk.length; ) {
    const reader = new BerReader(chunk.subarray(at));
    reader.readSequence();
    const end = at + reader.offset + reader.length;
    const id = reader.readInt() ?? 0;
    const isBind = reader.readSequence() === ProtocolOperation.LDAP_REQ_BIND;
    requests.push({ id, isBind, text: chunk.toString('latin1', at, end) });
    at = end;
  }
  return requests;
}

/** A SearchResultEntry. */
export function entry(
  id: number,
  dn: string,
  attributes: Readonly<Record<string, readonly string[]>>,
): Buffer {
  return message(id, ProtocolOperation.LDAP_RES_SEARCH_ENTRY, (writer) => {
    writer.writeString(dn);
    writer.startSequence();
    for (const [name, values] of Object.entries(attributes)) {
      writer.startSequence();
      writer.writeString(name);
      writer.startSequence(0x31);
      for (const value of values) writer.writeString(value);
      writer.endSequence();
      writer.endSequence();
    }
    writer.endSequence();
  });
}

/** A SearchResultReference. */
export function reference(id: number): Buffer {
  return message(id, ProtocolOperation.LDAP_RES_SEARCH_REF, (writer) =>
    writer.writeString('ldap://elsewhere.invalid/dc=x'),
  );
}

/** The end of the answer to a request. `code` is a result code, such as 0 for success. */
export function result({ id, isBind }: Request, code = 0): Buffer {
  const operation = isBind ? ProtocolOperation.LDAP_RES_BIND : ProtocolOperation.LDAP_RES_SEARCH;
  return message(id, operation, (writer) => {
    writer.writeEnumeration(code);
    writer.writeString('');
    writer.writeString('');
  });
}

function message(id: number, operation: number, write: (writer: BerWriter) => void): Buffer {
  const writer = new BerWriter();
  writer.startSequence();
  writer.writeInt(id);
  writer.startSequence(operation);
  write(writer);
  writer.endSequence();
  writer.endSequence();
  return Buffer.from(writer.buffer);
}
