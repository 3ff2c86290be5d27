import type { Files } from '../work-tree.ts';

/**
 * A tool that answers `/` and is hostile at other paths: `/never` gives no answer for 120 s and then ends the
 * connection, `/interim` sends `102 Processing` without a pause for 30 s, `/drip` sends chunks of one byte for 30 s,
 * `/print` prints as fast as it can for five seconds. `/flood/SECONDS` starts processes that print empty lines, and
 * lines like the config vars of `setLongVars`; `/calm` ends them.
 */
export const hostileTool: Files = {
  LICENSE: 'CC0-1.0\n',
  Procfile: 'web: python3 server.py\n',
  'build.sh': 'echo built\n',
  'flood.py': `import os, sys, time
end = time.monotonic() + float(sys.argv[1])
lines = (('the same beginning for all ' * 600)[:15000] + '\\n').encode() if os.fork() else b'\\n' * 15000
while time.monotonic() < end: os.write(1, lines)
`,
  'server.py': `import asyncio, os, signal, subprocess, sys, time
INTERIM = b'HTTP/1.1 102 Processing\\r\\n\\r\\n' * 2000
CHUNKS = b'1\\r\\nx\\r\\n' * 8000
flood = None
async def print_much():
    end = time.monotonic() + 5
    line = 'a line of output ' * 20
    while time.monotonic() < end:
        for _ in range(100): print(line)
        await asyncio.sleep(0)
async def without_end(writer, data):
    end = time.monotonic() + 30
    while time.monotonic() < end:
        writer.write(data)
        await writer.drain()
def calm():
    global flood
    if flood is not None:
        os.killpg(flood.pid, signal.SIGKILL)
        flood.wait()
    flood = None
def start_flood(seconds):
    global flood
    calm()
    flood = subprocess.Popen([sys.executable, 'flood.py', seconds], start_new_session=True)
async def serve(reader, writer):
    try:
        line = await reader.readline()
        while (await reader.readline()).strip(): pass
        if b'/never' in line: await asyncio.wait_for(reader.read(), 120)
        if b'/interim' in line: await without_end(writer, INTERIM)
        if b'/drip' in line:
            writer.write(b'HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n')
            await without_end(writer, CHUNKS)
        if b'/print' in line: asyncio.get_running_loop().create_task(print_much())
        if b'/flood/' in line: start_flood(line.decode().split()[1].split('/')[2])
        if b'/calm' in line: calm()
        writer.write(b'HTTP/1.1 200 OK\\r\\nContent-Length: 7\\r\\nConnection: close\\r\\n\\r\\nhostile')
        await writer.drain()
    except (ConnectionError, TimeoutError): pass
    finally: writer.close()
async def main():
    server = await asyncio.start_server(serve, '', int(os.environ['PORT']), backlog=4096)
    await server.serve_forever()
asyncio.run(main())
`,
};
