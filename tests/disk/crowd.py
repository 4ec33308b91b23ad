"""Four processes of three threads each that get in each other's way. Argument: where."""
import os
import sys
import threading

os.chdir(sys.argv[1])
os.fork()
os.fork()
common = os.open("common", os.O_CREAT | os.O_WRONLY | os.O_APPEND)


def work(number):
    for count in range(100):
        name = f"{os.getpid()}-{number}-{count}"
        os.write(common, f"{name} ".encode())
        file = os.open("contested", os.O_CREAT | os.O_WRONLY)
        os.write(file, name.encode())
        os.close(file)
        os.fsync(common)
        try:
            os.rename("contested", name)
            if count % 2:
                os.unlink(name)
        except FileNotFoundError:
            pass


threads = [threading.Thread(target=work, args=[number]) for number in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
try:
    while True:
        os.wait()
except ChildProcessError:
    pass
