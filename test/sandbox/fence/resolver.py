"""Answers every question for a name with 192.0.2.77, on port 53 of the address given."""

import socket
import sys

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((sys.argv[1], 53))
print("ready", flush=True)
while True:
    question, client = server.recvfrom(1000)
    end = question.index(b"\0", 12) + 5
    head = question[:2] + b"\x81\x80\0\1\0\1\0\0\0\0"
    server.sendto(head + question[12:end] + b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + bytes([192, 0, 2, 77]), client)
