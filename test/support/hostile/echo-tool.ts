import type { Files } from '../work-tree.ts';

/** A tool that records the bytes of each connection, except requests for `/`. At `/seen`, it shows and forgets them. */
export const echoTool: Files = {
  LICENSE: 'CC0-1.0\n',
  Procfile: 'web: python3 server.py\n',
  'build.sh': 'echo built\n',
  'server.py': `import base64, json, os, socketserver, threading
seen, lock = [], threading.Lock()
class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        data = b''
        self.request.settimeout(0.2)
        try:
            while (more := self.request.recv(65536)): data += more
        except TimeoutError: pass
        body = b'echo'
        with lock:
            if data.startswith(b'GET /seen '):
                body = json.dumps([base64.b64encode(one).decode() for one in seen]).encode()
                seen.clear()
            elif data and not data.startswith(b'GET / '): seen.append(data)
        self.request.sendall(b'HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: %d\\r\\n\\r\\n' % len(body) + body)
class Server(socketserver.ThreadingTCPServer): daemon_threads = True
Server(('0.0.0.0', int(os.environ['PORT'])), Handler).serve_forever()
`,
};
