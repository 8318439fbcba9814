"""The hosts' file systems: a Debian of each release, and layers over it, made once and kept in CACHE.

`python -m tests.host.roots` makes what is missing. A layer's packages are installed on the booted host, for that is
where their maintainer scripts enable and start their services.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.host.machine import PASSWORD, USER, Host

CACHE = Path(os.environ.get("POPIPS_HOSTS", "/var/cache/popips/hosts"))
RELEASES = ("bookworm", "trixie")  # Debian 12 and 13
DOVECOT = "dovecot-pop3d dovecot-imapd"
LAYERS = {"sendmail": f"sendmail {DOVECOT}", "postfix": f"postfix {DOVECOT}"}
BUILD = "build-essential debhelper dh-python lintian"  # what `make deb` and its test need, in a layer of its own
ENGINES = {"bookworm": "redis", "trixie": "valkey"}  # which server popips-share has there
# what tests install on a booted host, without a network
LATER = {
    release: f"git make python3-bsddb3 postfix-lmdb postfix-cdb {ENGINES[release]}-server python3-redis"
    for release in RELEASES
}

# What every host has before its admin begins: names without DNS, users, and an SMTP client that need not wait.
BASE = f"""
echo mx.example.test > /etc/hostname
printf '127.0.0.1 localhost\\n::1 localhost\\n203.0.113.1 mx.example.test mx\\n' > /etc/hosts
cat /proc/sys/kernel/random/uuid | tr -d - > /etc/machine-id # without one, the first boot would enable all units
useradd -m -s /bin/bash {USER}; echo '{USER}:{PASSWORD}' | chpasswd
useradd -m -s /bin/bash carol; echo 'carol:{PASSWORD}' | chpasswd; chage -E 1 carol
"""
AFTER = """
sed -i 's/^hosts:.*/hosts: files/' /etc/nsswitch.conf
if [ -d /etc/mail ]; then
    for what in GreetPause ClientRate ClientConn; do
        printf '%s:203.0.113\\t0\\n%s:IPv6:2001:db8:1\\t0\\n' $what $what
    done >> /etc/mail/access
    sed -i '/^DAEMON_OPTIONS/i define(`confREFUSE_LA'"'"', `0'"'"')dnl\\ndefine(`confQUEUE_LA'"'"', `0'"'"')dnl' \
        /etc/mail/sendmail.mc
    make -C /etc/mail
fi
"""


def layers(release: str, name: str) -> list[Path]:
    """Return the overlay layers of a host, the topmost first, all of them made."""
    return [_made(release, name), _made(release, "base")]


def _made(release: str, name: str) -> Path:
    """Return the folder of a layer; make it if it is not there."""
    path = CACHE / f"{release}-{name}-{_recipe(release)}"
    if not path.exists():
        new = path.with_name(f"{path.name}.new")
        _discard(new)
        if name == "base":
            _make_base(release, new)
        else:
            _make_layer(release, name, new)
        new.rename(path)
    return path


def _recipe(release: str) -> str:
    """Return a name for all that decides what the layers of a release hold."""
    text = repr((LAYERS, BUILD, LATER[release], BASE, AFTER))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _discard(path: Path) -> None:
    for made in (path, path.with_name(f"{path.name}.work")):
        shutil.rmtree(made, ignore_errors=True)


def _make_base(release: str, root: Path) -> None:
    _checked(["debootstrap", release, str(root), *_mirror()])

    resolver = Path("/etc/resolv.conf").read_text()
    (root / "etc" / "resolv.conf").write_text(resolver)
    # one after the other, for sendmail and Postfix are not to be had together
    fetch = "\n".join(f"apt-get -q -y -d install {words}" for words in (*LAYERS.values(), BUILD, LATER[release]))
    _in_chroot(root, f"apt-get -q clean; apt-get -q update\n{fetch}\n{BASE}")


def _make_layer(release: str, name: str, upper: Path) -> None:
    base = _made(release, "base")
    upper.mkdir(parents=True)
    packages = BUILD if name == "build" else LAYERS[name]
    with Host(f"{release}-{name}", [base], upper) as host:
        host.do(f"DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-download install {packages}")
        if name != "build":
            host.do(AFTER)
        host.power_off()
    shutil.rmtree(f"{upper}.work", ignore_errors=True)


def _mirror() -> list[str]:
    """Return the mirror that this machine's apt uses for Debian; nothing where that is not known."""
    told = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN) $(LABEL) $(REPO_URI)"], capture_output=True, text=True
    ).stdout
    uris = [words[2] for words in map(str.split, told.splitlines()) if words[:2] == ["Debian", "Debian"]]
    return uris[:1]


def _in_chroot(root: Path, script: str) -> None:
    enter = 'mount --rbind /dev "$0/dev"; mount -t proc proc "$0/proc"; exec chroot "$0" sh -euc "$1"'
    private = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
    _checked([*private, "sh", "-euc", enter, str(root), script])


def _checked(command: Sequence[str]) -> None:
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-4000:]}")


def main() -> int:
    """Make all layers of both releases."""
    CACHE.mkdir(parents=True, exist_ok=True)

    def make(release: str) -> None:
        for name in ("base", *LAYERS, "build"):
            _made(release, name)

    with ThreadPoolExecutor() as pool:
        list(pool.map(make, RELEASES))
    return 0


if __name__ == "__main__":
    sys.exit(main())
