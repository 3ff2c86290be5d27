/**
 * A Python program that holds the lock of a folder for about a minute, so that nobody can list it or look for a name in
 * it: it lists the folder into memory that its threads change all the time. The folder is its argument. Prints `ready`
 * when it begins.
 */
export const HOLDING_FOLDER = `
import ctypes, mmap, os, sys, threading, time
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
for call in (libc.mprotect, libc.madvise): call.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.syscall.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_uint]
held = sys.argv[1]
for number in range(8000): open(held + '/%0250d' % number, 'w').close()
parent = os.getpid()
if os.fork() == 0:
    while os.getppid() == parent:
        open(held + '/new', 'w').close()
        os.unlink(held + '/new')
        time.sleep(0.001)
    os._exit(0)
private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000
size, page, pages = 12 << 30, 4096, 600
large = libc.mmap(None, size, 1, private, -1, 0)
libc.madvise(large, size, 15)
libc.madvise(large, size, 22)
list = libc.mmap(None, pages * page, 3, private, -1, 0)
for one in range(0, pages, 2): libc.madvise(list + one * page, page, 16)
folder = os.open(held, os.O_DIRECTORY)
begin = threading.Event()
def change():
    begin.wait()
    while True:
        for rights in (5, 1): libc.mprotect(large, size, rights)
for thread in range(24): threading.Thread(target=change, daemon=True).start()
os.write(1, b'ready')
begin.set()
libc.syscall(217 if os.uname().machine == 'x86_64' else 61, folder, list, pages * page)
time.sleep(600)`;
