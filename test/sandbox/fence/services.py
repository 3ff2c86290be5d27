"""Answers every TCP and UDP client on port 8000 of every address with the words it is given."""

import socket
import struct
import sys
import threading

words = sys.argv[1].encode()


def listening(kind):
    made = socket.socket(socket.AF_INET6, kind)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    made.bind(("::", 8000))
    return made


def tcp(server):
    while True:
        client, _ = server.accept()
        client.settimeout(1)
        try:
            client.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(words) + words)
            client.shutdown(socket.SHUT_WR)
            client.recv(1000)
        except OSError:
            pass
        client.close()


def udp(server):
    while True:
        _, client = server.recvfrom(1000)
        server.sendto(words, client)


stream = listening(socket.SOCK_STREAM)
stream.listen(50)
datagram = listening(socket.SOCK_DGRAM)
# As a service that announces itself (mDNS) does, on every interface with IPv4.
for index, name in socket.if_nameindex():
    group = struct.pack("4s4si", socket.inet_aton("224.0.0.251"), bytes(4), index)
    if name != "lo":
        datagram.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
threading.Thread(target=tcp, args=[stream], daemon=True).start()
print("ready", flush=True)
udp(datagram)
