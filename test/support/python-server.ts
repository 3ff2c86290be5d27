/**
 * Python code for web tools of tests. Its `serve(answer)` listens on PORT. For each request, it calls `answer(method,
 * path, headers, body, client)`, which returns a status and the bytes of the page. The names in `headers` are lower
 * case. Tests start thousands of tools, and `import http.server` costs more processor time than all else that they do.
 */
export const PYTHON_SERVER = `import os, socket, _thread
def serve(answer):
    def talk(client):
        try:
            requests = client.makefile('rb')
            while line := requests.readline():
                method, path = line.decode('latin1').split()[:2]
                headers = {}
                while ':' in (line := requests.readline().decode('latin1')):
                    name, value = line.split(':', 1)
                    headers[name.lower()] = value.strip()
                if 'expect' in headers: client.sendall(b'HTTP/1.1 100 Continue\\r\\n\\r\\n')
                status, page = answer(method, path, headers, requests.read(int(headers.get('content-length', 0))), client)
                client.sendall(b'HTTP/1.1 %d Status\\r\\nContent-Length: %d\\r\\n\\r\\n' % (status, len(page)))
                if method != 'HEAD': client.sendall(page)
                if headers.get('connection', '').lower() == 'close': break
        except OSError: pass
        finally: client.close()
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(('0.0.0.0', int(os.environ['PORT'])))
    server.listen(128)
    while True: _thread.start_new_thread(talk, (server.accept()[0],))
`;
