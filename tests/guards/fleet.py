"""Guards of logins on other hosts: which of them open the relay here, and what may not keep it open or closed."""

from __future__ import annotations

from tests.guards import Guard

READ, TAKEN, ANSWER, RUN = "popips/elsewhere.py", "expirer/fleet.py", "mapd/answer.py", "popips/run.py"
OF_TOLD = "tests/test_fleet_told.py::test_"
OF_RUNS, OF_MAPD = "tests/test_fleet.py::test_", "tests/mapd/test_elsewhere.py::test_"
NEWEST = f"{OF_MAPD}the_newest_of_both_decides_unless_somebody_denies_it"
BELIEVED = f"{OF_RUNS}where_the_folder_cannot_be_believed_that_is_said_and_nothing_here_is_lost"
DENIED = f"{OF_RUNS}whom_another_host_denies_loses_his_grant_and_gets_no_other_until_that_is_lifted"
FULL = f"{OF_RUNS}where_the_memory_of_what_is_told_is_full_all_ends_that_is_to_end"
BACK = f"{OF_RUNS}what_was_ended_elsewhere_stays_ended_when_the_clock_is_put_back"
ONCE = f"{OF_RUNS}a_run_takes_up_each_login_once_and_keeps_the_later_of_two"

GUARDS = (
    Guard(
        "what another host has ended is no login",
        READ,
        {"return there.time if there.is_live else None": "return there.time"},
        f"{NEWEST}[live-ended since-nobody]",
    ),
    Guard(
        "what another host tells of the future says nothing",
        READ,
        {"there.time > now or ": ""},
        f"{NEWEST}[live-a login of the future-nobody]",
    ),
    Guard(
        "a later login here counts before what another host tells",
        READ,
        {" or (here is not None and there.time < here <= now)": ""},
        f"{NEWEST}[live-ended before-nobody]",
    ),
    Guard(
        "a folder of other hosts' logins that others may write to opens nothing",
        READ,
        {"if os.fstat(fd).st_mode & 0o022:": "if not path:"},
        f"{BELIEVED}[writable]",
    ),
    Guard(
        "a folder that others could put in the place of other hosts' logins opens nothing",
        READ,
        {"if above.st_uid not in (0, os.geteuid()) or above.st_mode & 0o022:": "if not above:"},
        f"{BELIEVED}[replaceable]",
    ),
    Guard(
        "only a small plain file tells of a login on another host",
        READ,
        {"if not S_ISREG(state.st_mode) or state.st_size > LONGEST:": "if not state:"},
        f"{OF_MAPD}what_is_no_small_plain_file_says_nothing[huge]",
    ),
    Guard(
        "popips-mapd lets nobody relay whom another host denies",
        ANSWER,
        {"self._theirs = others.denied()": "self._theirs = others.denied()[:0]"},
        f"{NEWEST}[live-none-another host]",
    ),
    Guard(
        "where nobody knows whom other hosts deny, their logins open nothing at popips-mapd",
        ANSWER,
        {"if told and told.is_live and not self._opens:": "if told and not told.time:"},
        f"{OF_MAPD}where_what_others_tell_cannot_be_believed_it_opens_nothing_and_logins_here_go_on[garble]",
    ),
    Guard(
        "a list of denials that is missing is no empty one",
        READ,
        {"if self.state(DENIED) is None:": "if not DENIED:"},
        f"{BELIEVED}[unasked]",
    ),
    Guard(
        "whom other hosts denied stays out of popips-mapd as long as nobody knows better",
        ANSWER,
        {"return [*self._theirs, *denials": "return [*denials"},
        f"{OF_MAPD}whom_others_deny_stays_out_as_long_as_nobody_knows_better[forget]",
    ),
    Guard(
        "popips-mapd reads the denials, here and on another host, only when they have changed",
        ANSWER,
        {'        if now == self._saw["denials"]:\n            return\n': ""},
        f"{OF_MAPD}denials_are_read_once_and_a_look_up_asks_for_no_more_of_them_than_there_are_sizes",
    ),
    Guard(
        "where nobody knows whom other hosts deny, their logins get no grant",
        TAKEN,
        {"denied = there.denied()": "denied = denials.load(there, strictly=False)"},
        f"{BELIEVED}[garbled]",
    ),
    Guard(
        "what is ended elsewhere while a run takes up what it has heard gets no grant",
        TAKEN,
        {"if told and told.is_live and login:": "if told and login:"},
        f"{OF_RUNS}what_is_ended_elsewhere_while_a_run_takes_up_what_it_has_heard_gets_no_grant",
    ),
    Guard(
        "popips-mapd reads again what it could not read for a moment",
        ANSWER,
        {"        if isinstance(error, StampFailed):\n": "        if not error:\n"},
        f"{OF_MAPD}what_others_tell_is_read_again_if_that_has_failed_for_a_moment[denied]",
    ),
    Guard(
        "what the admin is told of denials elsewhere is what popips-mapd goes by",
        READ,
        {"                return there.denied()\n        except": "                there.denied()\n        except"},
        f"{OF_TOLD}where_there_is_no_map_whom_others_deny_is_told_before_the_next_run",
    ),
    Guard(
        "an address that another host has ended is no sample of what popips-mapd opens",
        READ,
        {"return is_ended or bool(barred(name))": "return bool(barred(name))"},
        "tests/doctor/test_share.py::test_an_address_that_another_host_has_closed_is_no_sample_of_what_popips_mapd_opens[ended]",
    ),
    Guard(
        "a login on another host is taken up once",
        TAKEN,
        {"told.came >= since and ": ""},
        f"{OF_RUNS}limits_and_policy_count_logins_elsewhere_as_those_here",
    ),
    Guard(
        "a grant stays whose the later login is, here or on another host",
        TAKEN,
        {" and not (stamp and stamp.time >= told.time)": ""},
        ONCE,
    ),
    Guard(
        "a login on another host that could not be put into the map waits for the next run",
        "expirer/expire.py",
        {"    elif others:\n        others.note_heard()\n": "    if others:\n        others.note_heard()\n"},
        f"{OF_RUNS}what_could_not_be_put_into_the_map_in_time_is_taken_up_by_the_next_run",
    ),
    Guard(
        "on a full disk logins on another host do not keep grants open that are due",
        RUN,
        {"        except StampError as error:  # a full disk": "        except KeyError as error:  #"},
        f"{OF_RUNS}a_full_disk_does_not_keep_open_what_is_due",
    ),
    Guard(
        "what another host has ended ends nobody who has logged in since",
        RUN,
        {"if stamp and stamp.time <= ended[name] else": "if stamp else"},
        f"{OF_RUNS}who_logs_in_while_a_run_ends_what_another_host_has_ended_keeps_his_grant",
    ),
    Guard(
        "whom another host denies gets no grant by a login here",
        "popips/policy.py",
        {"denials.load(site.folder, False, DENIED_ELSEWHERE) if": "[] if"},
        DENIED,
    ),
    Guard(
        "a run looks at all grants when another host has denied somebody",
        "popips/seen.py",
        {"(DENIED, DENIED_ELSEWHERE))": "(DENIED,))"},
        DENIED,
    ),
    Guard(
        "a stamp of the future that another host has ended is ended, and not renewed",
        TAKEN,
        {"(counts or is_ahead)": "counts"},
        f"{BACK}[an hour]",
    ),
    Guard(
        "what another host has ended is looked for before stamps of the future are renewed",
        RUN,
        {
            "            if heard is None:\n": "            for name in found.ahead:\n"
            "                self.site.folder.renew(name, None, self.site.now)\n            if heard is None:\n"
        },
        f"{BACK}[an hour]",
    ),
    Guard(
        "what another host has ended counts no more for max_per_user",
        RUN,
        {
            "                self.end(heard.ended)\n": "",
            "        self.run.stuck = ": "        self.end(heard.ended)\n        self.run.stuck = ",
        },
        f"{OF_RUNS}what_is_ended_elsewhere_counts_no_more_for_max_per_user",
    ),
    Guard(
        "what is due ends before what other hosts tell is looked through",
        RUN,
        {"renewed = others": "heard = heard or self.hear(told, others)\n            renewed = others"},
        f"{OF_RUNS}what_is_due_ends_before_anything_that_was_told_is_looked_through",
    ),
    Guard(
        "a grant that is due here, but not elsewhere, is renewed and not ended",
        RUN,
        {" if name not in renewed)": ")"},
        f"{OF_RUNS}a_login_elsewhere_renews_a_grant_before_it_would_be_due",
    ),
    Guard(
        "logins on other hosts take a bounded time of a run",
        RUN,
        {"elif time.monotonic() > end:": "elif not end:"},
        f"{OF_RUNS}what_takes_too_long_to_take_up_waits_for_the_next_run",
    ),
    Guard(
        "a set-up that fails in a fleet ends no grant",
        "popips/setup/undo.py",
        {"if any(ends_all(command) for command in commands) and": "if not commands and"},
        "tests/setup/test_fleet.py::test_a_set_up_that_fails_in_a_fleet_ends_no_grant",
    ),
    Guard(
        "popips-share counts by what it writes, however it was started",
        "popips/probe/fleet.py",
        {"return unit.is_enabled or runs or _has_told()": "return unit.is_enabled or runs"},
        "tests/setup/test_fleet.py::test_popips_share_counts_by_what_it_writes_however_it_was_started",
    ),
    Guard(
        "a name that no host can have comes into no command of doctor's",
        "popips/probe/fleet.py",
        {"        if _is_a_hosts(name)\n": ""},
        "tests/doctor/test_share.py::test_a_name_that_no_host_can_have_comes_into_no_command",
    ),
    Guard(
        "what the admin ends here is not opened again by a login elsewhere before that",
        "popips/revoke.py",
        {"            elsewhere.end(site.settings, ended, time.time())\n": "            pass\n"},
        f"{OF_RUNS}what_the_admin_ends_while_popips_share_does_not_run_stays_ended[end 192.0.2.10]",
    ),
    Guard(
        "popips-db end names the logins on other hosts that are left",
        "popips/db/end.py",
        {"    if name_elsewhere(task, site):\n        return 1\n": ""},
        f"{OF_TOLD}a_choice_of_grants_names_the_logins_on_other_hosts_that_are_left[--all-mapd]",
    ),
    Guard(
        "what a run has refused of other hosts is not said to wait for the next",
        "popips/db/known.py",
        {"told.came >= self._since and ": ""},
        f"{OF_TOLD}what_the_next_run_takes_up_is_shown_as_pending_until_it_has",
    ),
    Guard(
        "what a denial has ended of other hosts stays ended when it is lifted",
        "popips/db/deny.py",
        {"    elsewhere.end(site.settings, there, site.now)  # or": "    # or"},
        f"{OF_TOLD}a_login_elsewhere_that_a_denial_ends_is_named_and_stays_ended",
    ),
    Guard(
        "what the admin takes out here is not opened again by a login elsewhere before that",
        "popips/db/delete.py",
        {"    elsewhere.end(task.settings, taken.ended, time.time())\n": ""},
        f"{OF_RUNS}what_the_admin_ends_while_popips_share_does_not_run_stays_ended[del 192.0.2.10]",
    ),
    Guard(
        "all grants end that the admin ends, also where what others have told cannot be written",
        "popips/revoke.py",
        {"        except StampFailed as error:\n": "        except KeyError as error:\n"},
        f"{FULL}[that cannot-end --all]",
    ),
    Guard(
        "what notes an end in a full memory makes the room for that",
        READ,
        {"            self.remove(name)\n            self._put": "            self._put"},
        f"{FULL}[that can be freed-end --all]",
    ),
)
