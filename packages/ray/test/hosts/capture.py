"""Takes every packet that crosses an interface until standard input ends; then tells how many bytes there were, and whether a word was among them."""
import select
import socket
import sys

interface, word = sys.argv[2], sys.argv[3].encode()
packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(3))
packets.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
packets.bind((interface, 0))
print("ready", flush=True)
count, found = 0, False
while True:
    ready, _, _ = select.select([packets, sys.stdin], [], [])
    if packets in ready:
        packet = packets.recv(1 << 17)
        count += len(packet)
        found = found or word in packet
    elif sys.stdin in ready:
        break
print(count, "found" if found else "none", flush=True)
