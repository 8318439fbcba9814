"""Words of the commands that an admin is told to paste: whatever they hold, the shell takes each for itself."""

from __future__ import annotations

PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%+=:,./-_")


def quoted(text: str) -> str:
    """Return a text as one word of sh's, as shlex.quote() does, which a login has no time to import."""
    return text if text and PLAIN.issuperset(text) else "'" + text.replace("'", "'\"'\"'") + "'"


def echoed(*lines: str) -> str:
    """Return the command that prints lines, and reads no backslash in them as anything else."""
    words = " ".join(map(quoted, lines))
    return f"echo {words}" if len(lines) == 1 and "\\" not in words else f"printf '%s\\n' {words}"


def ended(path: str, text: str) -> str:
    """Return what has to be done, with && behind it, before a line is added to a file with this text: often nothing.

    An editor may have left its last line without an end, which the new line would be a part of.
    """
    return f"sed -i '$a\\' {quoted(path)} && " if text and not text.endswith("\n") else ""


def literal(text: str) -> str:
    """Return a text as a pattern of sed's between |, which matches that text alone."""
    return "".join(f"\\{c}" if c in "\\.*[]^$|" else c for c in text)


def replacement(text: str) -> str:
    """Return a text as what sed puts in the place of a match, between |."""
    return "".join(f"\\{c}" if c in "\\&|" else c for c in text)
