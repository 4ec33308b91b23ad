"""Changes a directory by every call that Python has for it. Argument: which directory."""
import os
import shutil
import sys

os.chdir(sys.argv[1])
here = os.open(".", os.O_RDONLY)
os.mkdir("a")
os.mkdir("b", dir_fd=here)
os.makedirs("b/c/d")
file = os.open("a/one", os.O_RDWR | os.O_CREAT)
os.write(file, b"0123456789")
os.pwrite(file, b"ab", 4)
os.writev(file, [b"cd", b"", b"ef"])
os.pwritev(file, [b"gh", b"i"], 20)
os.lseek(file, 2, os.SEEK_SET)
os.write(os.dup(file), b"xy")
os.link("a/one", "a/two")
os.ftruncate(file, 18)
os.truncate("a/two", 22)
os.posix_fallocate(file, 20, 10)
with open("a/one", "ab", buffering=0) as end:
    end.write(b"end")
    os.pwrite(end.fileno(), b"also", 0)
with open("b/cut", "w") as cut:
    cut.write("old and long")
with open("b/cut", "w") as cut:
    cut.write("new")
shutil.copyfile("a/one", "b/copy")
source = os.open("b/copy", os.O_RDONLY)
for copy in [os.copy_file_range, lambda source, to, count: os.sendfile(to, source, 0, count)]:
    try:
        copy(source, file, 5)
    except OSError as error:
        print("refused:", error)
os.rename("a/two", "b/two")
os.replace("b/copy", "b/two")
os.rename("b", "B", src_dir_fd=here, dst_dir_fd=here)
os.rename("B/c", "a/c")
os.unlink("a/one")
os.write(file, b"nobody reads this")
for number in range(3):
    with open(f"a/{number}", "w") as again:
        again.write(f"perhaps an inode that was {number} before")
    os.remove(f"a/{number}")
os.rmdir("a/c/d")
os.mkdir("gone")
with open("gone/file", "w") as gone:
    gone.write("gone")
shutil.rmtree("gone")
os.rename("../outside", "../also-outside")
