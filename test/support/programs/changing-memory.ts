/**
 * A Python program whose threads change its memory all the time. So every process that looks at its memory waits long
 * for the lock of that memory (mmap_lock). Prints `ready` when it begins.
 */
export const changingMemory = (threads: number) => `
import ctypes, mmap, os, threading
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
part, parts = 32 << 20, 16
file = os.memfd_create('part')
os.ftruncate(file, part)
start = libc.mmap(None, part * parts, 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
for one in range(parts): libc.mmap(start + one * part, part, 3, mmap.MAP_SHARED | 0x10 | 0x8000, file, 0)
for one in range(30000): libc.mmap(None, 4096, 1, mmap.MAP_SHARED, file, 0)
begin = threading.Event()
def change():
    begin.wait()
    while True:
        for rights in (1, 3): libc.mprotect(start, part * parts, rights)
for thread in range(${threads}): threading.Thread(target=change, daemon=True).start()
os.write(1, b'ready')
begin.set()
threading.Event().wait(600)`;
