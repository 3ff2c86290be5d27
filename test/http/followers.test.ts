import assert from 'node:assert/strict';
import { createConnection } from 'node:net';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { runCommand } from '../../src/cli/run-command.ts';
import { toolName } from '../../src/core/names.ts';
import { Desk } from '../support/cli-services.ts';
import { basic, openDoor } from '../support/http/http-door.ts';

const hello = toolName('hello') ?? assert.fail();

test('threat 21: the server stops sending a log to an HTTP client that reads nothing, and ends the answer with the reason', async (context) => {
  using desk = new Desk(300);
  desk.maintain(hello, 'alice');
  desk.runtime.lines = Array.from({ length: 10_000 }, () => ({
    at: '',
    process: 'web.1',
    version: null,
    text: 'x'.repeat(2000),
  }));
  const door = await openDoor(context, { runCommand, services: desk.services });
  const socket = createConnection({ host: '127.0.0.1', port: door.port });
  const head = `Host: 127.0.0.1\r\nAuthorization: ${basic()}\r\nContent-Length: 10\r\nConnection: close`;
  socket.write(`POST /-/command HTTP/1.1\r\n${head}\r\n\r\nlogs hello`);
  // Does not read the socket until the server has dropped this follower.
  const isHeld = () => desk.followers.size > 0;
  while (!isHeld()) await delay(10);
  while (isHeld()) await delay(10);
  const said = await text(socket);
  assert.match(said, / ! {5}This connection took no output for 1 s, so the server stopped sending output\./);
  assert.match(said, /Toolforge-Exit-Status: 1/);
  assert.ok(said.length < 20_000_000, 'the whole log was sent');
});
