"""Tries to reach port 8000 of the addresses given, by TCP and UDP, in many ways that need no privileges.

    python3 attack.py SECONDS ADDRESS...

It prints a line for each result at an address, with the ways that had this result, as
`10.0.0.1 tcp ECONNREFUSED: unbound, bound to eth0`. Each attempt takes at most SECONDS.
"""

import errno
import socket
import struct
import sys
import time
from concurrent.futures import ThreadPoolExecutor

SO_BINDTODEVICE, IP_UNICAST_IF, IPV6_UNICAST_IF, IP_FREEBIND = 25, 50, 76, 15
SECONDS = float(sys.argv[1])
DEVICES = [name for _, name in socket.if_nameindex()]


def ways(is_ipv6):
    yield "unbound", lambda made: None
    for name in DEVICES:
        index = struct.pack("!I", socket.if_nametoindex(name))
        to_device = lambda made, name=name: made.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, name.encode())
        option = (socket.IPPROTO_IPV6, IPV6_UNICAST_IF) if is_ipv6 else (socket.IPPROTO_IP, IP_UNICAST_IF)
        yield f"bound to {name}", to_device
        yield f"sending by {name}", lambda made, index=index, option=option: made.setsockopt(*option, index)
        yield f"bound to {name} without routes", lambda made, bind=to_device: (
            made.setsockopt(socket.SOL_SOCKET, socket.SO_DONTROUTE, 1),
            bind(made),
        )


def foreign(is_ipv6):
    """Binds to an address that nobody has. From then on, pasta answers at that address, so this way comes last."""
    source = "2001:db8:ffff::7" if is_ipv6 else "198.51.100.7"
    yield "with a foreign source", lambda made: (
        made.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1),
        made.bind((source, 0)),
    )


def meet(host, kind, prepare):
    is_ipv6 = ":" in host
    address = socket.getaddrinfo(host, 8000, socket.AF_INET6 if is_ipv6 else socket.AF_INET, kind)[0][4]
    with socket.socket(socket.AF_INET6 if is_ipv6 else socket.AF_INET, kind) as made:
        made.settimeout(SECONDS)
        try:
            prepare(made)
            if kind == socket.SOCK_DGRAM:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                made.sendto(b"hello", address)
            else:
                made.connect(address)
            return made.recv(1000).decode().splitlines()[-1]
        except socket.timeout:
            return "silence"
        except OSError as error:
            return errno.errorcode.get(error.errno, str(error))


def is_settling():
    """True while the kernel checks that no neighbour has an IPv6 address of this sandbox. Until then, it does not use it."""
    with open("/proc/net/if_inet6") as table:
        return any(int(line.split()[4], 16) & 0x40 for line in table)


waited = time.monotonic() + 5
while is_settling() and time.monotonic() < waited:
    time.sleep(0.05)

KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
by = {}
for some_ways in (ways, foreign):
    with ThreadPoolExecutor(20) as pool:
        attempts = [
            (host, name, way, pool.submit(meet, host, kind, prepare))
            for host in sys.argv[2:]
            for name, kind in KINDS.items()
            for way, prepare in some_ways(":" in host)
        ]
    for host, name, way, attempt in attempts:
        by.setdefault(f"{host} {name} {attempt.result()}", []).append(way)
for line, which in by.items():
    print(f"{line}: {', '.join(which)}", flush=True)
