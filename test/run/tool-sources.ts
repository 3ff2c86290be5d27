import type { Process, Schedule } from '../../src/core/types.ts';
import { PYTHON_SERVER } from '../support/python-server.ts';

// The sources of small tools, for tests.

export const web = (file = 'web.py'): Process => ({
  type: 'web',
  command: ['python3', '-u', file],
  isDefault: true,
});

export const worker = (file = 'worker.py'): Process => ({
  type: 'worker',
  command: ['python3', '-u', file],
  isDefault: false,
});

/** A process type that does not start by itself. */
export const namedCommand = (type: string, file: string): Process => ({
  type,
  command: ['python3', '-u', file],
  isDefault: false,
  replicas: 0,
});

/** A scheduled process that is due each minute. */
export const everyMinute = (file = 'update.py', change: Partial<Schedule> = {}): Process => ({
  type: 'update',
  command: ['python3', '-u', file],
  isDefault: false,
  launchedAs: null,
  schedule: { text: '* * * * *', cron: '* * * * *', retry: 0, timeoutSeconds: null, ...change },
});

/**
 * A tool that answers `/` with `word`, `/env/NAME` with the value of a variable, `/id` with a random word of the process,
 * and `/slow` after a second. At `/exit`, it exits with code 3 without an answer; at `/leave`, it answers and then exits.
 */
export function webTool(word: string): string {
  return `
${PYTHON_SERVER}
import sys, time
ID = os.urandom(8).hex()
def leave(): time.sleep(0.2); os._exit(3)
def answer(method, path, headers, sent, client):
    body, status = '${word}', 200
    if method == 'POST': body = str(len(sent))
    elif path == '/id': body = ID
    elif path.startswith('/env/'): body = os.environ.get(path[5:], '')
    elif path.startswith('/header/'): body = headers.get(path[8:].lower(), '')
    elif path.startswith('/status/'): status = int(path[8:])
    elif path.startswith('/exists/'): body = str(os.path.exists(path[7:]))
    elif path == '/slow': print('slow begins'); time.sleep(1)
    elif path == '/exit': print('leaving'); sys.stdout.flush(); os._exit(3)
    elif path == '/leave': _thread.start_new_thread(leave, ())
    elif path == '/half': client.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 1000\\r\\n\\r\\nonly this'); os._exit(4)
    return status, body.encode()
print('${word} starts')
serve(answer)
`;
}

/** A tool that listens on this port instead of PORT. */
export const wrongPortTool = (port: number) => `
import socket, time
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('0.0.0.0', ${port})); s.listen(); print('listening on port ${port}'); time.sleep(1000)
`;

export const silentTool = `
import time
print('thinking'); time.sleep(1000)
`;

/** Prints only on standard error, because a container's two streams reach its log in no certain order. */
export const crashingTool = `
import sys
print('reading the settings', file=sys.stderr)
sys.exit('no database here')
`;

/** Opens its port, accepts connections, and exits before it answers, like a server that forks before it loads. */
export const acceptingTool = `
import os, socket, sys, time
server = socket.create_server(('', int(os.environ['PORT'])))
time.sleep(1)
print('the tool could not be loaded', flush=True)
sys.exit(3)
`;

/** Accepts every connection and never answers. */
export const hungTool = `
import os, socket
server = socket.create_server(('', int(os.environ['PORT'])), backlog=128)
print('waiting for the database')
held = []
while True: held.append(server.accept())
`;

/** Opens its port like a forking server, and kills each of its workers before the worker answers. */
export const dyingWorkersTool = `
import os, signal, socket, time
server = socket.create_server(('', int(os.environ['PORT'])), backlog=128)
while True:
    pid = os.fork()
    if pid == 0:
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    print(f'[ERROR] Worker (pid:{pid}) was sent SIGKILL! Perhaps out of memory?')
`;

/** Answers each request with `answer`, after `afterSeconds`, and leaves the connection open. */
export const rawAnswerTool = (answer: string, afterSeconds = 0) => `
import os, socket, time
server = socket.create_server(('', int(os.environ['PORT'])), backlog=128)
print('listening')
held = []
while True:
    connection, _ = server.accept()
    if not connection.recv(4096): continue
    time.sleep(${afterSeconds})
    try: connection.sendall(${JSON.stringify(answer)}.encode())
    except OSError: pass
    held.append(connection)
`;

/** Prints `tick` often, and `goodbye` on SIGTERM. */
export const politeWorker = `
import signal, sys, time
def leave(*_): print('goodbye'); sys.exit(0)
signal.signal(signal.SIGTERM, leave)
print('ready')
while True: time.sleep(0.05); print('tick')
`;

/** Ignores SIGTERM. */
export const stubbornWorker = `
import signal, time
signal.signal(signal.SIGTERM, lambda *_: print('no'))
print('ready')
while True: time.sleep(0.1)
`;
