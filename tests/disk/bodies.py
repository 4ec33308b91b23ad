"""Keeps bodies as files: written and synced in spool, renamed into bodies, that synced, then acknowledged. Argument: where."""
import os
import socket
import sys

client, server = socket.socketpair()


def sync(path):
    file = os.open(path, os.O_RDONLY)
    os.fsync(file)
    os.close(file)


os.chdir(sys.argv[1])
os.mkdir("spool")
os.mkdir("bodies")
sync(".")
for number in range(1, 6):
    with open(f"spool/body-{number}", "wb") as file:
        file.write(str(number).encode() * 10_000)
        file.flush()
        os.fsync(file.fileno())
    os.rename(f"spool/body-{number}", f"bodies/{number}")
    sync("bodies")
    server.sendmsg([b"250-almost\r\n250 2.0.0", f" queued as {number}\r\n".encode()])
