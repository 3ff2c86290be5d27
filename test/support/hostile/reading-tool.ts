import type { Files } from '../work-tree.ts';

/** A tool that reads everything that it receives. */
export const readingTool: Files = {
  LICENSE: 'CC0-1.0\n',
  Procfile: 'web: python3 server.py\n',
  'build.sh': 'echo built\n',
  'server.py': `import os, socketserver
class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        line = self.request.recv(65536)
        if line.startswith(b'POST'):
            while self.request.recv(65536): pass
        self.request.sendall(b'HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: 2\\r\\n\\r\\nok')
class Server(socketserver.ThreadingTCPServer): daemon_threads = True
Server(('0.0.0.0', int(os.environ['PORT'])), Handler).serve_forever()
`,
};
