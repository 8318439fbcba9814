"""syslogd.py FILE: take what comes to /dev/log, and write each message as a line of FILE."""

import socket
import sys

with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log, open(sys.argv[1], "ab", buffering=0) as file:
    log.bind("/dev/log")
    print("listening", flush=True)
    while True:
        file.write(log.recv(65536).rstrip(b"\0\n") + b"\n")
