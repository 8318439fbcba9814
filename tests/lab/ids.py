"""ids.py SOURCE SERVER < SESSIONS: have IMAP sessions that log nobody in, each with an ID command.

SESSIONS is JSON, a list of [user, [[key, value], ...]]. A user who is named fails to log in before the ID is sent.
"""

import json
import socket
import sys


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def session(source: str, server: str, user: str, fields: list[list[str]]) -> None:
    with socket.create_connection((server, 143), 60, (source, 0)) as client, client.makefile("rwb") as stream:
        stream.readline()
        words = " ".join(quoted(text) for field in fields for text in field)
        for command in (*([f"LOGIN {quoted(user)} wrong"] if user else []), f"ID ({words})"):
            stream.write(f"a {command}\r\n".encode())
            stream.flush()
            while not (line := stream.readline()).startswith(b"a "):
                if not line:
                    raise ConnectionError(f"the server hung up at {command[:60]}")


if __name__ == "__main__":
    for user, fields in json.load(sys.stdin):
        session(sys.argv[1], sys.argv[2], user, fields)
