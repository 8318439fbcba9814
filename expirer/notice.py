"""What popips-expire tells the admin: what is odd about this host, and what popips.conf says and the host has not."""

from __future__ import annotations

import os
from collections.abc import Iterator

from follower import formats
from popips import policy, seen, watch
from popips.paste import quoted
from popips.settings import Settings
from popips.site import Site
from popips.stamps import TOLD


def wrong(settings: Settings) -> Iterator[str]:
    """Return what a run, or a login, would fail on, each with the setting and the cure."""
    if settings.only_group:
        try:
            if not policy.is_group(settings.only_group):
                yield f"{settings.path}: only_group: there is no group {settings.only_group}: groupadd makes it"
        except policy.NoAnswer as error:
            yield f"{settings.path}: {error}"
    if settings.mta == "sendmail" and not settings.own_map and settings.value not in ("RELAY", "OK"):
        yield f"{settings.path}: value: sendmail takes {settings.value:.40} for the text of a refusal: write RELAY"
    if settings.follow_pattern:
        try:
            formats.own(settings.follow_pattern, f"{settings.path}: follow_pattern")
        except formats.FormatError as error:
            yield str(error)
    if settings.drop and not os.path.isdir(settings.drop):
        cure = f"make it: install -d -m 0711 {quoted(settings.drop)}"
        yield f"{settings.path}: drop: there is no folder {settings.drop}; {cure}"


def news(site: Site) -> Iterator[str]:
    """Return what is odd and was not told in the last hour, each with its cure; no grant suffers from it."""
    for what, text in (
        ("edit", seen.unbuilt_then(site)),
        ("readable", _readable(site.form.place.path) if site.form.place.row.has_file else ""),
        ("noexec", _noexec(site)),
    ):
        if text and watch.is_news(site.folder, TOLD[what], site.now):
            yield text
    text = site.text.from_the_future(site.now)
    if text and watch.is_new(site.folder, TOLD["future"], site.text.identity):
        yield text


def _readable(path: str) -> str:
    """Return the cure for a map that any user may read, and so keep locked: then nobody is granted, and mail waits."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return ""
    return f"{path}: any user may read it, and so keep it locked: chmod o-r {quoted(path)}" if mode & 0o004 else ""


def _noexec(site: Site) -> str:
    if not os.fstatvfs(site.folder.fd).f_flag & os.ST_NOEXEC:
        return ""
    cure = "mount it without that, or name another folder in popips.conf (stamps)"
    return f"{site.folder.path}: mounted noexec, where sh sees no stamp as settled, so each login starts Python: {cure}"
