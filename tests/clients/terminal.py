"""A person at a terminal: runs a command in a pseudo-terminal and answers its questions.

Standard input: JSON, a list of [question, keys]; each question is awaited on the screen before its keys are pressed. Argument: seconds for
all. Standard output: all that was on the screen. Exit status: the command's.
"""
import json, os, pty, re, select, sys, termios, time

steps, seconds, command = json.load(sys.stdin), float(sys.argv[1]), sys.argv[2:]
end = time.monotonic() + seconds
child, screen = pty.fork()
if child == 0:
    os.environ["TERM"] = "xterm"
    os.execv(command[0], command)

seen, at = "", 0


def read():
    """More of the screen, without what steers the terminal; False at its end."""
    global seen
    ready, _, _ = select.select([screen], [], [], max(0, end - time.monotonic()))
    if not ready:
        os.kill(child, 9)
        sys.exit(f"nothing more on the screen within {seconds} s:\n{seen}")
    try:
        octets = os.read(screen, 65536)
    except OSError:
        return False
    seen += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", octets.decode(errors="replace"))
    return bool(octets)


for question, keys in steps:
    while question not in seen[at:]:
        if not read():
            break
    found = seen.find(question, at)
    if found < 0:
        sys.stderr.write(f"{question!r} was not asked:\n{seen}")
        os.waitpid(child, 0)
        sys.exit(99)
    at = found + len(question)
    # Who reads keys has switched the terminal's own echo off; keys pressed before would be shown.
    while keys and termios.tcgetattr(screen)[3] & termios.ECHO and time.monotonic() < end:
        time.sleep(0.005)
    os.write(screen, keys.encode())
while read():
    pass
sys.stdout.write(seen)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
