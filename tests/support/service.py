# SPDX-License-Identifier: MIT
"""A service manager for tests: opens sockets, starts a program with them, and
tells on standard output what the program says to it, a JSON line each.

service.py [--socket HOST:PORT|unix:PATH]... [--watchdog USEC] [--abstract]
           [--listen-pid PID] FOLDER PROGRAM ARGUMENT...

The first line is {"pid":..., "ports":[...]}, then {"from":PID,"lines":[...]}
for each message. Ends with the main process, with its exit status: the program,
or what it names as MAINPID.
"""
import argparse
import ctypes
import json
import os
import signal
import socket
import struct
import sys
import threading

PR_SET_CHILD_SUBREAPER = 36
MARK = b"all before this has come"


def say(message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def open_socket(text):
    if text.startswith("unix:"):
        one = socket.socket(socket.AF_UNIX)
        one.bind(text[5:])
    else:
        host, port = text.rsplit(":", 1)
        family = socket.AF_INET6 if "[" in host else socket.AF_INET
        one = socket.socket(family)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind((host.strip("[]"), int(port)))
    one.listen(64)
    return one


def start(options, sockets, environment):
    """Forks: LISTEN_PID is the program's own pid."""
    pid = os.fork()
    if pid > 0:
        return pid
    # Above those that are wanted, then down to 3 and on.
    high = [os.dup2(one.fileno(), 100 + i) for i, one in enumerate(sockets)]
    for i, fd in enumerate(high):
        os.dup2(fd, 3 + i, inheritable=True)
        os.close(fd)
    if sockets:
        environment["LISTEN_FDS"] = str(len(sockets))
        environment["LISTEN_PID"] = options.listen_pid or str(os.getpid())
    if options.watchdog:
        environment["WATCHDOG_USEC"] = options.watchdog
        environment["WATCHDOG_PID"] = str(os.getpid())
    os.execve(options.program[0], options.program, environment)
    return 0


def listen(notify, main_pid, heard):
    while True:
        data, ancillary, _, _ = notify.recvmsg(4096, 256)
        if data == MARK:
            heard.set()
            continue
        sender = 0
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                sender = struct.unpack("3i", content[:12])[0]
        lines = data.decode().split("\n")
        for line in lines:
            if line.startswith("MAINPID=") and sender == main_pid[0]:
                main_pid[0] = int(line[8:])
        say({"from": sender, "lines": lines})


def await_end(main_pid, heard, address):
    """The status of the main process; processes of others' are ours, too."""
    while True:
        pid, status = os.wait()
        if pid != main_pid[0]:
            continue
        # What was sent last may still wait: it comes before this.
        heard.clear()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own:
            own.sendto(MARK, address)
        heard.wait()
        if pid == main_pid[0]:
            return os.waitstatus_to_exitcode(status) & 0xff


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", action="append", default=[])
    parser.add_argument("--watchdog")
    parser.add_argument("--listen-pid")
    parser.add_argument("--abstract", action="store_true")
    parser.add_argument("folder")
    parser.add_argument("program", nargs=argparse.REMAINDER)
    options = parser.parse_args()

    name = os.path.join(options.folder, "notify")
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    address = "\0" + name if options.abstract else name
    notify.bind(address)
    notify.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    sockets = [open_socket(text) for text in options.socket]
    ports = [one.getsockname()[1] if one.family != socket.AF_UNIX else 0
             for one in sockets]
    # "PORT0" in an argument is the port of the first socket, and so on.
    for i, port in enumerate(ports):
        options.program = [word.replace("PORT%d" % i, str(port))
                           for word in options.program]
    environment = dict(os.environ)
    environment["NOTIFY_SOCKET"] = ("@" if options.abstract else "") + name

    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    main_pid = [start(options, sockets, environment)]
    for one in sockets:
        one.close()
    say({"pid": main_pid[0], "ports": ports})
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, _: os.kill(main_pid[0], got))
    heard = threading.Event()
    threading.Thread(target=listen, args=(notify, main_pid, heard),
                     daemon=True).start()
    sys.exit(await_end(main_pid, heard, address))


main()
