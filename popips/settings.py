"""popips.conf as a value: one row for each setting, of which popips.conf(5) and contrib/popips.conf are made.

After a change of the rows: `make pages`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from popips import address, parsers
from popips.maps import Place, exists
from popips.setting import Setting

if TYPE_CHECKING:
    from typing import Any


class Settings:
    """What popips.conf says, unchangeable. Times are in seconds."""

    mta = Setting(
        "sendmail",
        parsers.one_of("sendmail", "postfix"),
        """the MTA that uses the map: sendmail or postfix.
        For postfix,
        .B map
        must be set, the default value is OK, and keys have the form that Postfix looks up.""",
    )
    map = Setting(
        "hash:/etc/mail/access.db",
        parsers.place,
        """the map, as TYPE:PATH, with or without the suffix of the file name; TYPE is hash or btree;
        lmdb for postfix; cdb for postfix, and for a sendmail that was built with it, as Debian's is not.
        lmdb and cdb need
        .BR "own_map = yes" ,
        because they can only be written as a whole.
        It must exist, except for a map of popips' own, which popips makes.
        Or mapd: there is no map, a login only writes its stamp, and the MTA asks
        .BR popips-mapd (8).""",
    )
    stamps = Setting(
        "/var/lib/popips/stamps",
        parsers.path,
        """the stamp folder.
        It must belong to root, and nobody else may write to it.""",
    )
    window = Setting("15m", parsers.duration, "how long a grant lasts after a login: a number and s, m, h, d or w.")
    value = Setting("RELAY", parsers.value, "the value of the records, at most 3000 characters; OK for postfix.")
    key = Setting(
        "bare",
        parsers.one_of("bare", "connect"),
        """bare: the key of a record is the address; this also lets anyone send mail to user@[ADDRESS].
        connect: the key is connect:ADDRESS, which does not.""",
    )
    compressed_ipv6 = Setting(
        "no",
        parsers.yes_or_no,
        """yes, if sendmail runs with UseCompressedIPv6Addresses: ipv6:2001:db8::10 instead of
        ipv6:2001:db8:0:0:0:0:0:10.""",
    )
    never = Setting(
        "0.0.0.0/8 127.0.0.0/8 169.254.0.0/16 224.0.0.0/4 ::/128 ::1 fe80::/10 ff00::/8",
        parsers.unless("none", (), address.networks),
        """networks that get no grant, as addresses and ADDRESS/BITS separated by blanks or commas; none: no network.
        They replace the default: repeat 127.0.0.0/8 and ::1.
        Multicast and reserved addresses never get a grant.""",
    )
    lock_timeout = Setting(
        "2s",
        parsers.wait,
        """how long a login waits for a locked map: 2s at most.
        The hooks wait for 1.6 seconds at most, because the whole login has to go on within two.""",
    )
    log_renewals = Setting(
        "no",
        parsers.yes_or_no,
        "yes: also log logins from addresses that already have a grant; each of them then starts Python.",
        closes_lane=True,
    )
    own_map = Setting(
        "no",
        parsers.yes_or_no,
        """yes: the map is popips' own, and has nothing but grants in it.
        This is the better way: see contrib/sendmail and contrib/postfix.
        popips refuses a map with a text file next to it, as access.db has.
        It makes the map if it is missing, and rebuilds it from the stamps if it is damaged, of another version, or
        changed by another program; records of others are lost.
        .B map
        must be set, and not to access.db.""",
    )
    max_per_user = Setting(
        "0",
        parsers.number,
        """how many grants one user may have: a login above that ends the user's oldest grant.
        0: no limit.
        Each login from a new address then reads all stamps: use it with up to some ten thousand grants.""",
    )
    max_per_network = Setting(
        "0",
        parsers.number,
        """how many grants there may be in each /64 of IPv6 and each /24 of IPv4, 0 for no limit: a login above that
        ends the oldest of them.""",
    )
    only_services = Setting(
        "all",
        parsers.unless("all", (), parsers.services),
        """the services whose logins get grants: names of PAM services, pop3 and imap for popips-postlogin, drop for the
        drop folder; separated by blanks or commas.
        With PAM, Dovecot gives all its services the name dovecot, SMTP AUTH among them, unless its passdb says
        args = %s, or with Dovecot 2.4 service_name = %{protocol}.
        For
        .BR popips-follow (8)
        all means those that give access to a mailbox: others, submission for instance, count only if named here.""",
    )
    only_group = Setting(
        "all",
        parsers.unless("all", "", parsers.group),
        """a group of this host: only its members get grants.
        Each login then starts Python.""",
        closes_lane=True,
    )
    renew = Setting(
        "logins",
        parsers.one_of("logins", "sessions"),
        """what renews a grant: logins;
        or sessions: also an IMAP or POP3 session, as long as it lasts; popips-expire asks Dovecot which there are.""",
    )
    doveadm = Setting(
        "doveadm",
        str,
        """the command that asks Dovecot for its sessions, with options if needed; used by
        .BR "renew = sessions" .
        It is run as root.""",
    )
    drop = Setting(
        "none",
        parsers.unless("none", "", parsers.path),
        r"""the drop folder, for clients that cannot show their address by POP3 or IMAP. It has a folder for each such
        user, with the user's name, which belongs to the user, and to which nobody else may write.
        A file in it with one line, an address, counts as a login of the user from that address, with the
        service drop; popips-expire removes the file.
        The newest file counts, and ends the grant of the one before.
        Files that are still being written, lack the newline, or have a name that begins with a dot are ignored.
        .IP
        install \-d \-m 0711 /var/lib/popips/drop
        .br
        install \-d \-o USER \-m 0700 /var/lib/popips/drop/USER""",
    )
    follow_pattern = Setting(
        "none",
        parsers.unless("none", "", str),  # whether it is a pattern, popips-follow itself can tell
        """the login lines of a server that
        .BR popips-follow (8)
        does not know, as PROGRAM: REGEX$.
        REGEX is a Python regular expression for the rest of the line, with groups named address, user and service;
        only address is required.
        PROGRAM is the server's name as it is in the log, not a regular expression.
        .B popips-follow \\-\\-try
        shows what it would match: see SETTING IT UP in that page.""",
    )
    static_source = Setting(
        "auto",
        parsers.unless("auto", None, parsers.unless("none", "", parsers.path)),
        """the text file that makemap builds the map from: the keys in it are the admin's.
        auto: the map's path without the suffix, if there is such a file; none: there is none.""",
    )
    mapd_socket = Setting(
        "/run/popips/mapd.sock",
        parsers.path,
        """the socket on which popips-mapd answers as a socket map,
        if systemd has not made it.""",
    )
    mapd_policy = Setting("/run/popips/policy.sock", parsers.path, "the same for Postfix's policy protocol.")
    share = Setting(
        "none",
        parsers.unless("none", "", parsers.engine),
        """the Valkey or Redis server through which hosts tell each other of their logins, see
        .BR popips-share (8):
        redis://HOST:PORT, rediss://HOST:PORT for TLS, with USER@ before HOST for a user of its ACL, and /NUMBER behind
        PORT for a database.
        none: this host keeps its logins to itself.""",
    )
    share_name = Setting(
        "auto",
        parsers.unless("auto", "", parsers.host),
        "this host's name for the others, each needs a name of its own; auto: its host name.",
    )
    share_stream = Setting(
        "popips:log",
        parsers.stream,
        "the stream on that server; hosts with the same stream hear each other.",
    )
    share_password_file = Setting(
        "none",
        parsers.unless("none", "", parsers.path),
        "a file with the server's password on one line, which must not be readable by everybody.",
    )
    share_from = Setting(
        "/run/popips/from",
        parsers.path,
        """the folder in which popips-share stores what the others tell; on a file system in memory, such as /run.
        Nobody else may write to it, and neither it nor the stamp folder may be within the other.""",
    )
    path: str = ""  # of the file that says so; "" if none does
    identity: str = "-"  # of that file, see popips.files; "-" if there is none

    def __init__(self, **given: Any) -> None:
        self.__dict__.update(given)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"Settings is a value: {name} cannot be set")

    def replace(self, **given: Any) -> Settings:
        """Return the same settings but for some."""
        return Settings(**{**self.__dict__, **given})

    def source(self, place: Place) -> str:
        """Return the path of the text file that a map is made from; "" if there is none."""
        if place == self.map and self.map.own:
            return ""
        if place == self.map and self.static_source is not None:
            return self.static_source
        return place.source if exists(place.source) else ""

    @property
    def lane_is_closed(self) -> bool:
        """Whether each login has to start Python."""
        return any(row.closes_lane and getattr(self, row.name) != row.default for row in ROWS.values())


ROWS: dict[str, Setting[object]] = {name: row for name, row in vars(Settings).items() if isinstance(row, Setting)}
