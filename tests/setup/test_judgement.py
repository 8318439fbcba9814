"""Where a set-up puts its lines, and where it leaves that to the admin: tables of what hosts have."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import ClassVar

import pytest

from popips.maps import Place
from popips.probe import mapd
from popips.probe.machine import Answer, Machine
from popips.probe.sendmail import parsed
from popips.settings import Settings
from popips.setup import conf, expirer, pam, postfix, sendmail, show
from popips.setup.step import ByHand, Choice, Plan, Write
from popips.setup.there import Host
from tests.box import ROOT

MAP = "hash:/var/lib/popips/popips"
CHECK = f"check_client_access {MAP}"
RESTRICTIONS = {  # as main.cf has them: as they are to be, None if that is the admin's to judge
    "permit_mynetworks permit_sasl_authenticated defer_unauth_destination": (
        f"permit_mynetworks permit_sasl_authenticated {CHECK} defer_unauth_destination"
    ),
    "permit_mynetworks, reject_unauth_destination": f"permit_mynetworks, {CHECK}, reject_unauth_destination",
    "permit_mynetworks,reject": f"permit_mynetworks,{CHECK}, reject",
    "reject_unauth_destination": f"{CHECK} reject_unauth_destination",
    # the admin's REJECT of a client wins
    "warn_if_reject reject_rbl_client a.example, reject_unauth_destination": (
        f"warn_if_reject reject_rbl_client a.example, {CHECK}, reject_unauth_destination"
    ),
    "warn_if_reject reject, permit_mynetworks, DEFER": f"warn_if_reject reject, permit_mynetworks, {CHECK}, DEFER",
    "check_client_access hash:/etc/postfix/access, reject_unauth_destination": (
        f"check_client_access hash:/etc/postfix/access, {CHECK}, reject_unauth_destination"
    ),
    # a DNSBL does not
    "permit_mynetworks, reject_rbl_client dnsbl.example, reject_unauth_destination": (
        f"permit_mynetworks, {CHECK}, reject_rbl_client dnsbl.example, reject_unauth_destination"
    ),
    "reject_rbl_client a.example reject_rhsbl_client b.example check_client_access hash:/a reject_rbl_client c.example "
    "reject_unauth_destination": (
        "reject_rbl_client a.example reject_rhsbl_client b.example check_client_access hash:/a "
        f"{CHECK} reject_rbl_client c.example reject_unauth_destination"
    ),
    "$mine, reject_unauth_destination": f"$mine, {CHECK}, reject_unauth_destination",
    # what is in braces is no restriction
    "check_policy_service { inet:127.0.0.1:1, reject }, reject_unauth_destination": (
        f"check_policy_service {{ inet:127.0.0.1:1, reject }}, {CHECK}, reject_unauth_destination"
    ),
    f"permit_mynetworks, {CHECK}, reject_unauth_destination": (
        f"permit_mynetworks, {CHECK}, reject_unauth_destination"
    ),
    f"permit_mynetworks {CHECK}2 reject": f"permit_mynetworks {CHECK}2 {CHECK} reject",
    "$all_of_it": None,
    "permit_mynetworks permit": None,
    # behind the refusal it would never be asked
    f"permit_mynetworks, reject_unauth_destination, {CHECK}": None,
}


@pytest.mark.parametrize("said", RESTRICTIONS)
def test_postfix_asks_the_map_where_strangers_are_refused(said: str) -> None:
    wanted = RESTRICTIONS[said]
    if wanted is None:
        with pytest.raises(ByHand):
            postfix.with_check(said, MAP)
    else:
        assert postfix.with_check(said, MAP) == wanted
        assert postfix.with_check(wanted, MAP) == wanted


QUESTION = str(mapd.QUESTION)
BY_MAPD = {  # as main.cf has them: as they are to be with popips-mapd
    "permit_mynetworks permit_sasl_authenticated defer_unauth_destination": (
        f"permit_mynetworks permit_sasl_authenticated permit_auth_destination, {QUESTION} defer_unauth_destination"
    ),
    "permit_mynetworks, permit_auth_destination, reject": (
        f"permit_mynetworks, permit_auth_destination, {QUESTION}, reject"
    ),
    # what is asked behind the refusal is asked on
    "permit_mynetworks, reject_unauth_destination, check_recipient_access hash:/a": (
        f"permit_mynetworks, {QUESTION}, reject_unauth_destination, check_recipient_access hash:/a"
    ),
}


@pytest.mark.parametrize("said", BY_MAPD)
def test_postfix_asks_popips_mapd_where_strangers_are_refused(said: str) -> None:
    assert postfix.with_mapd(said) == BY_MAPD[said]


OTHER = "hash:/srv/mail/grants"
OF_OTHERS = {  # restrictions that ask a map which popips.conf names no more: as they are without that
    f"permit_mynetworks, check_client_access {OTHER}, reject": "permit_mynetworks, reject",
    f"permit_mynetworks check_client_access  {OTHER}\treject": "permit_mynetworks reject",
    f"check_client_access {OTHER},reject": "reject",
    f"permit_mynetworks, check_client_access {OTHER}": "permit_mynetworks",
    f"check_client_access {OTHER}2, check_client_access hash:/a, reject": None,
}


@pytest.mark.parametrize("said", OF_OTHERS)
def test_a_map_that_is_no_more_is_asked_no_more(said: str) -> None:
    assert postfix._without(said, [OTHER]) == (OF_OTHERS[said] or said)


class Says(Machine):
    """A machine whose programs say this, by the command's first two words."""

    said: ClassVar[dict[str, str]] = {}

    def ask(self, *command: str, typed: str = "", patience: float = 0.0) -> Answer:
        return Answer(0, self.said.get(" ".join(command[:2]), ""), "")


OVERRIDDEN = {  # what master.cf says for port 25, by map and whether that is done
    f"permit_mynetworks,{CHECK.replace(' ', ',')},reject": (MAP, True),
    "permit_mynetworks,check_client_access,hash:/a,reject": (MAP, False),
    f"permit_mynetworks,{QUESTION},reject": ("mapd", True),
    "permit_mynetworks,reject": ("mapd", False),
}


@pytest.mark.parametrize("said", OVERRIDDEN)
def test_what_master_cf_says_itself_is_the_admins_to_write(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    name, is_done = OVERRIDDEN[said]
    of_25 = f"smtp/inet/smtpd_relay_restrictions = {said}\n"
    monkeypatch.setattr(Says, "said", {"postconf -x": "mynetworks = 127.0.0.0/8\n", "postconf -Px": of_25})
    host = Host(Says(), Settings().replace(mta="postfix", map=Place.parse(name)), None, "postlogin")
    if is_done:
        assert postfix.steps(host) == []
    else:
        with pytest.raises(ByHand, match="for port 25: put"):
            postfix.steps(host)


STEP = Write("mta", "/etc/x", "")
TOLD = {  # a plan, whether it is to be done: the first line, and the last
    "to be done": (Plan("it", (STEP,)), False, "for it: 1 step", "setup --apply --map own --hook pam does this"),
    "there": (Plan("it"), False, "for it: nothing to do", "for it: nothing to do"),
    "by hand": (Plan("it", by_hand=("x",)), False, "for it: nothing is done", "popips-db setup --map own --hook pam"),
    "by hand, told to": (Plan("", by_hand=("x",)), True, "by hand: x", "popips-db setup --apply --map own --hook pam"),
}


@pytest.mark.parametrize("name", TOLD)
def test_a_plan_says_what_is_done_and_how_to_go_on(name: str) -> None:
    plan, is_apply, first, last = TOLD[name]
    said = [*show.words(Machine(), plan), *show.end(plan, Choice("", map="own", hook="pam"), is_apply)]
    assert (said[0], said[-1].endswith(last)) == (first, True), said
    assert said[-1].startswith("nothing was changed: ") == (name != "there")


LINE = "FEATURE(`drac', `hash -o /var/lib/popips/popips.db')dnl"
MC = {  # a sendmail.mc: as it is to be
    "a\nFEATURE(`access_db', , `skip')dnl\nb\nMAILER_DEFINITIONS\n": (
        f"a\nFEATURE(`access_db', , `skip')dnl\n{LINE}\nb\nMAILER_DEFINITIONS\n"
    ),
    "dnl FEATURE(`access_db')dnl\na\nMAILER_DEFINITIONS\nMAILER(`smtp')\n": (
        f"dnl FEATURE(`access_db')dnl\na\n{LINE}\nMAILER_DEFINITIONS\nMAILER(`smtp')\n"
    ),
    "a\nMAILER(`smtp')dnl\n": f"a\n{LINE}\nMAILER(`smtp')dnl\n",
    "FEATURE(`access_db',\n `hash /etc/mail/access')dnl\nMAILER(`smtp')dnl\n": None,
    "FEATURE(`drac', `hash /etc/mail/drac')dnl\nMAILER(`smtp')dnl\n": None,
    "dnl FEATURE(`drac', `hash /etc/mail/drac')dnl\nMAILER(`smtp')dnl\n": (
        f"dnl FEATURE(`drac', `hash /etc/mail/drac')dnl\n{LINE}\nMAILER(`smtp')dnl\n"
    ),
    "nothing\n": None,
}


@pytest.mark.parametrize("source", MC)
def test_sendmail_mc_gets_one_line_before_the_mailers(source: str) -> None:
    wanted = MC[source]
    if wanted is None:
        with pytest.raises(ByHand):
            sendmail.with_line(source, LINE)
    else:
        assert sendmail.with_line(source, LINE) == wanted


CF = {  # a .cf, and whether it asks access.db
    "Kaccess hash -T<TMPF> /etc/mail/access\nR$*\t$: $(access $1 $)\n": True,
    "Kaccess hash -T<TMPF> /etc/mail/access.db\nR$*\t$: $(access $1 $)\n": True,
    "Kaccess hash -T<TMPF> /etc/mail/access\n": False,
    "Kmap hash -o /etc/mail/access2\nR$*\t$: $(map $1 $)\n": False,
    "# Kaccess hash /etc/mail/access\n": False,
    "": False,
}


@pytest.mark.parametrize("built", CF)
def test_a_cf_asks_the_map_by_either_name(built: str) -> None:
    assert parsed(built).asks_file("/etc/mail/access.db") == CF[built]


LISTENS = {
    "O DaemonPortOptions=Family=inet, Name=MTA-v4, Port=smtp, Addr=127.0.0.1\n": True,
    "O DaemonPortOptions=Family=inet6, Name=MTA-v6, Port=smtp, Addr=::1\n": True,
    "O DaemonPortOptions=Name=MTA\n": False,
    "O DaemonPortOptions=Family=inet6, Name=MTA, Port=smtp\n"
    "O DaemonPortOptions=Family=inet,  Name=MSP-v4, Port=submission, M=Ea, Addr=127.0.0.1\n": False,
    "": False,
}


@pytest.mark.parametrize("built", LISTENS)
def test_a_sendmail_for_its_own_host_only_is_seen(built: str) -> None:
    assert parsed(built).is_local_only == LISTENS[built]


HOOK = "account optional pam_exec.so quiet /usr/libexec/popips/popips-hook"
STACKS = {
    "@include common-auth\n@include common-account\n@include common-session\n": (
        f"@include common-auth\n@include common-account\n{HOOK}\n@include common-session\n"
    ),
    "@include common-auth\n": None,
    "@include common-account\naccount required pam_access.so\n": None,
    "@include common-account\n@include common-account\n": None,
    "# @include common-account\nauth required pam_unix.so\n": None,
}


@pytest.mark.parametrize("stack", STACKS)
def test_the_hooks_line_stands_behind_debians_account_checks(stack: str) -> None:
    wanted = STACKS[stack]
    if wanted is None:
        with pytest.raises(ByHand):
            pam.with_line(stack, HOOK)
    else:
        assert pam.with_line(stack, HOOK) == wanted


def test_what_cron_runs_already_needs_no_second_expirer(tmp_path: Path) -> None:
    for path in ("etc/cron.d", "usr/local/sbin"):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "usr/local/sbin/popips-expire").touch(0o755)
    for name in ("popips", "popips.bak"):
        (tmp_path / "etc/cron.d" / name).write_text((ROOT / "contrib/cron.d/popips").read_text())
    aimed = Installed(Machine(str(tmp_path)), Settings(), None, "")
    assert [job.where for job in expirer.by_cron(aimed)] == ["/etc/cron.d/popips:5"]
    assert expirer.steps(aimed) == []
    (tmp_path / "etc/cron.d/popips").write_text("* * * * * root /usr/local/sbin/popips-expire -n\n")
    assert expirer.by_cron(aimed) == []


class Installed(Host):
    """A host that has the programs of popips, wherever these modules are."""

    def program(self, name: str) -> str:
        return f"/usr/local/{name}"


CRON = {  # a /etc/cron.d/popips, and whether setup leaves it to the admin
    "": False,
    "# * * * * * root /usr/local/sbin/popips-expire\n": True,
    "5 4 * * * root /usr/local/sbin/mine\n": True,
}


@pytest.mark.parametrize("there", CRON)
def test_a_table_of_the_admins_is_not_replaced(tmp_path: Path, there: str) -> None:
    for path in ("etc/cron.d/old", "usr/sbin"):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "usr/sbin/cron").touch()
    if there:
        (tmp_path / "etc/cron.d/popips").write_text(there)
    aimed = Installed(Machine(str(tmp_path)), Settings(), None, "")
    if CRON[there]:
        with pytest.raises(ByHand, match=r"cron\.d/popips is there"):
            expirer.steps(aimed)
    else:
        assert [step.path for step in expirer.steps(aimed) if isinstance(step, Write)] == ["/etc/cron.d/popips"]


def test_how_another_map_comes_into_popips_conf_is_said_and_works(tmp_path: Path) -> None:
    path = tmp_path / "popips.conf"
    path.write_text("mta = postfix\nmap = hash:/var/lib/popips/popips\nown_map = yes\n")
    with pytest.raises(ByHand, match=r"map = hash:.*: if setup has written that, popips-db setup --undo") as error:
        conf.host(Machine(), Choice(str(path), map="mapd"))
    command = str(error.value).partition("in its place, ")[2].rpartition(", or leave")[0]
    subprocess.run(["sh", "-ec", command], check=True)
    assert str(conf.host(Machine(), Choice(str(path), map="mapd")).settings.map) == "mapd"
