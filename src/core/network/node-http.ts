import type * as Http from 'node:http';

// Take only these exports of node:http. An import would read all its exports. Some are getters that load an HTTP client
// of 40 modules, which the server does not need: this would take 45 ms of each start.
export const { Agent, createServer, IncomingMessage, request } = process.getBuiltinModule('node:http');
export type IncomingMessage = Http.IncomingMessage;
export const { createServer: createTlsServer, request: requestTls } = process.getBuiltinModule('node:https');
