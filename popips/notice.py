"""What a run tells the admin of this host that no grant suffers from, and that he would want to know."""

from __future__ import annotations

import os
from collections.abc import Iterator

from popips import seen, watch
from popips.site import Site
from popips.stamps import TOLD


def news(site: Site) -> Iterator[str]:
    """Return what is odd and was not told in the last hour, each with its cure."""
    for what, text in (
        ("edit", seen.unbuilt_then(site)),
        ("readable", _readable(site.form.place.path)),
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
    return f"{path}: any user may read it, and so keep it locked: chmod o-r {path}" if mode & 0o004 else ""


def _noexec(site: Site) -> str:
    if not os.fstatvfs(site.folder.fd).f_flag & os.ST_NOEXEC:
        return ""
    cure = "mount it without that, or name another folder in popips.conf (stamps)"
    return f"{site.folder.path}: mounted noexec, where sh sees no stamp as settled, so each login starts Python: {cure}"
