"""Answers every TCP and UDP client on port 8000 of every address with the words of its first argument."""

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
    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    while True:
        _, asked, _, client = server.recvmsg(1000, 100)
        # Answers come from the asked address, because connected sockets require that. A multicast group cannot be a source.
        from_address = [] if is_group(asked[0][2]) else [(*asked[0][:2], asked[0][2][:16] + bytes(4))]
        try:
            server.sendmsg([words], from_address, 0, client)
        except OSError:
            server.sendto(words, client)


def is_group(info):
    return info[0] == 0xFF or (info[:12] == bytes(10) + b"\xff\xff" and info[12] >= 224)


stream = listening(socket.SOCK_STREAM)
stream.listen(50)
datagram = listening(socket.SOCK_DGRAM)
# Joins the multicast group of mDNS on every interface except lo, like a service that announces itself.
for index, name in socket.if_nameindex():
    group = struct.pack("4s4si", socket.inet_aton("224.0.0.251"), bytes(4), index)
    if name != "lo":
        datagram.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
threading.Thread(target=tcp, args=[stream], daemon=True).start()
print("ready", flush=True)
udp(datagram)
