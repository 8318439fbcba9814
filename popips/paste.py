"""Words of the commands that an admin is told to paste: whatever they hold, the shell takes each for itself."""

from __future__ import annotations

PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%+=:,./-_")


def quoted(text: str) -> str:
    """Return a text as one word of sh's, as shlex.quote() does, which a login has no time to import."""
    return text if text and PLAIN.issuperset(text) else "'" + text.replace("'", "'\"'\"'") + "'"


def echoed(text: str) -> str:
    """Return the command that prints a line, and reads no backslash in it as anything else."""
    return f"printf '%s\\n' {quoted(text)}" if "\\" in text else f"echo {quoted(text)}"


def literal(text: str) -> str:
    """Return a text as a pattern of sed's between |, which matches that text alone."""
    return "".join(f"\\{c}" if c in "\\.*[]^$|" else c for c in text)


def replacement(text: str) -> str:
    """Return a text as what sed puts in the place of a match, between |."""
    return "".join(f"\\{c}" if c in "\\&|" else c for c in text)
