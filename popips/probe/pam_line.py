"""A line of PAM's files: where it ends, its words, and what its control says; as pam_misc.c and pam_line.c have it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

CODES = re.findall(
    r"\w+",
    "success open_err symbol_err service_err system_err buf_err perm_denied auth_err cred_insufficient "
    "authinfo_unavail user_unknown maxtries new_authtok_reqd acct_expired session_err cred_unavail cred_expired "
    "cred_err no_module_data conv_err authtok_err authtok_recover_err authtok_lock_busy authtok_disable_aging "
    "try_again ignore abort authtok_expired module_unknown bad_item conv_again incomplete",
)
CONTROLS = {
    "required": "success=ok new_authtok_reqd=ok ignore=ignore default=bad",
    "requisite": "success=ok new_authtok_reqd=ok ignore=ignore default=die",
    "sufficient": "success=done new_authtok_reqd=done default=ignore",
    "optional": "success=ok new_authtok_reqd=ok default=ignore",
}
PAIR = re.compile(rf"\s*({'|'.join(CODES)}|default)\s*=\s*(ignore|ok|done|bad|die|reset|0*[1-9][0-9]*)\s*")
WORD = re.compile(r"\[((?:\\\]|[^\]])*)\]?|([^ \t\n]+)")  # what begins with a bracket is one word, without its brackets
BLANKS = " \t"


def lines(text: str, ends_at_blanks: Callable[[], bool]) -> Iterator[tuple[int, str | None]]:
    """Return the logical lines, each with the number that it begins at; None for one that the file's end cuts off.

    ends_at_blanks: whether a comment or an empty line ends a continued line; else the line goes on behind it.
    """
    start, parts = 0, list[str]()
    for number, physical in enumerate(text.removesuffix("\n").split("\n"), 1):
        start = start if parts else number
        code, hash_sign, _ = physical.partition("#")
        code = code.strip(BLANKS)
        if not code and (not parts or not ends_at_blanks()):
            continue
        if code.endswith("\\") and not hash_sign:
            if parts or code != "\\" or not ends_at_blanks():
                parts.append(code[:-1])
            continue
        yield start, " ".join([*parts, code])
        parts = []
    if parts:
        yield start, None


def words(line: str) -> list[str]:
    """Return the words of a line, as _pam_tokenize() does."""
    return [
        word or bracketed.replace("\\]", "]")
        for bracketed, word in (found.groups(default="") for found in WORD.finditer(line))
    ]


def actions(control: str) -> dict[str, str]:
    """Return the action for each return code; none, which makes all of them bad, if libpam cannot read it."""
    text, found = CONTROLS.get(control.lower(), control), dict[str, str]()
    while text.strip():
        pair = PAIR.match(text)
        if not pair:
            return {}
        if pair[1] != "default" or "default" not in found:  # the first default fills all that is not set by then
            found[pair[1]] = pair[2]
        text = text[pair.end() :]
    return found
