import type { Files } from '../work-tree.ts';

/**
 * A tool that answers `/` and is hostile at other paths: `/never` gives no answer, `/interim` sends endless `102
 * Processing`, `/print` prints as fast as it can for five seconds.
 */
export const hostileTool: Files = {
  LICENSE: 'CC0-1.0\n',
  Procfile: 'web: python3 server.py\n',
  'build.sh': 'echo built\n',
  'server.py': `import asyncio, os, sys, time
INTERIM = b'HTTP/1.1 102 Processing\\r\\n\\r\\n' * 2000
async def print_much():
    end = time.monotonic() + 5
    line = 'a line of output ' * 20
    while time.monotonic() < end:
        for _ in range(100): print(line)
        await asyncio.sleep(0)
async def serve(reader, writer):
    try:
        line = await reader.readline()
        while (await reader.readline()).strip(): pass
        if b'/never' in line: await asyncio.sleep(120)
        if b'/interim' in line:
            end = time.monotonic() + 30
            while time.monotonic() < end:
                writer.write(INTERIM)
                await writer.drain()
        if b'/print' in line: asyncio.get_running_loop().create_task(print_much())
        writer.write(b'HTTP/1.1 200 OK\\r\\nContent-Length: 7\\r\\nConnection: close\\r\\n\\r\\nhostile')
        await writer.drain()
    except ConnectionError: pass
    finally: writer.close()
async def main():
    server = await asyncio.start_server(serve, '', int(os.environ['PORT']), backlog=4096)
    await server.serve_forever()
asyncio.run(main())
`,
};
