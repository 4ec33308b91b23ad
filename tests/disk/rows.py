"""Commits rows to a database in WAL mode with full syncs, and acknowledges each on a socket.

Arguments: the database, how many rows, and faults that stand while rows 11 to 15 are tried.
"""
import os
import socket
import sqlite3
import sys

database, count, faults = sys.argv[1], int(sys.argv[2]), sys.argv[3]
client, server = socket.socketpair()
connection = sqlite3.connect(database, isolation_level=None)
# Small, so that the rows of a test go through several checkpoints.
for setting in ["journal_mode = WAL", "synchronous = FULL", "wal_autocheckpoint = 20"]:
    connection.execute(f"PRAGMA {setting}").fetchall()
connection.execute("CREATE TABLE row (number INTEGER PRIMARY KEY, text TEXT)")
for number in range(1, count + 1):
    if faults and number in (11, 16):
        with open(os.environ["DISK_FAULTS"], "w") as file:
            file.write(faults if number == 11 else "")
    try:
        connection.execute("INSERT INTO row VALUES (?, ?)", (number, str(number) * 500))
    except sqlite3.OperationalError as error:
        print(f"row {number}: {error}")
    else:
        server.sendall(f"250 2.0.0 queued as {number}\r\n".encode())
# As in a power cut: no last checkpoint.
sys.stdout.flush()
os._exit(0)
