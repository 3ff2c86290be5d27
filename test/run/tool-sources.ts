import type { Process, Schedule } from '../../src/core/types.ts';

/** Sources of small tools for tests. */

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

/** Answers `/` with `word`, `/env/NAME` with a variable, `/id` with a random word, `/slow` after a second. `/exit` exits with code 3, and `/leave` answers first. */
export function webTool(word: string): string {
  return `
import http.server, os, socket, sys, threading, time
ID = os.urandom(8).hex()
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        body, status = '${word}', 200
        if self.path == '/id': body = ID
        if self.path.startswith('/env/'): body = os.environ.get(self.path[5:], '')
        if self.path.startswith('/header/'): body = self.headers.get(self.path[8:], '')
        if self.path.startswith('/status/'): status = int(self.path[8:])
        if self.path.startswith('/exists/'): body = str(os.path.exists(self.path[7:]))
        if self.path == '/slow': print('slow begins'); time.sleep(1)
        if self.path == '/exit': print('leaving'); sys.stdout.flush(); os._exit(3)
        if self.path == '/leave': threading.Timer(0.2, lambda: os._exit(3)).start()
        if self.path == '/half':
            self.send_response(200); self.send_header('Content-Length', '1000'); self.end_headers()
            self.wfile.write(b'only this'); self.wfile.flush(); os._exit(4)
        data = body.encode()
        self.send_response(status); self.send_header('Content-Length', str(len(data))); self.end_headers()
        self.wfile.write(data)
    def do_POST(self):
        size = int(self.headers.get('Content-Length', 0)); total = len(self.rfile.read(size))
        data = str(total).encode()
        self.send_response(200); self.send_header('Content-Length', str(len(data))); self.end_headers()
        self.wfile.write(data)
    def log_message(self, *args): pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
print('${word} starts')
Server(('0.0.0.0', int(os.environ['PORT'])), Handler).serve_forever()
`;
}

/** Listens on this port instead of PORT. */
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

/** Answers \`GET /\` with these bytes after this time, and leaves the connection open. */
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

/** Prints \`tick\` often, and \`goodbye\` on SIGTERM. */
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
