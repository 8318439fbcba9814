"""Guards of popips-share."""

from __future__ import annotations

from tests.guards import Guard

AGENT, DENYING = "share/agent.py", "share/denying.py"
DOWN = "tests/share/test_agent.py::test_denials_of_a_host_that_is_down_hold_when_the_server_comes_back_without_them"
RENAMED = (
    "tests/share/test_agent.py::"
    "test_denials_that_another_host_of_that_name_has_overwritten_are_told_again_when_it_gets_another"
)
FUTURE = "tests/share/test_share.py::test_a_stream_whose_last_entry_is_of_the_future_is_begun_anew"
FULL = "tests/share/test_share.py::test_a_stream_that_has_given_ids_of_the_future_is_begun_anew"
NAMESAKES = "tests/share/test_agent.py::test_hosts_of_one_name_hear_each_other_and_end_nothing_but_their_own"

LOST = "tests/share/test_agent.py::test_a_denial_reaches_the_others_if_the_host_is_lost_before_it_has_told_of_it"

ENDED = "tests/share/test_agent.py::test_what_was_ended_elsewhere_stays_ended_when_the_clock_is_put_back"
PUT_BACK = (
    "tests/share/test_agent.py::test_a_clock_that_is_put_back_hides_nothing_that_comes_and_loses_nothing_that_was_told"
)

GROWN = "tests/share/test_ledger.py::test_whatever_a_host_tells_of_denials_no_more_of_them_are_heeded_than_can_be_read"

GUARDS = (
    Guard(
        "an address in the stream names a file only if it is one client's, as it is written",
        "share/entry.py",
        {"    if name != NOBODY if sign == DENIALS else not address.is_canonical(name):\n": "    if False:\n"},
        "tests/share/test_share.py::test_what_no_host_has_written_is_ignored",
    ),
    Guard(
        "an entry of the future says nothing",
        "share/entry.py",
        {"    if is_ahead(number, now):\n": "    if False:\n"},
        "tests/share/test_ledger.py::test_an_id_is_not_of_the_future",
    ),
    Guard(
        "of one moment the end counts",
        "share/ledger.py",
        {"(event.time == known.time and not event.is_live)": "False"},
        "tests/share/test_ledger.py::test_all_hosts_agree_in_whatever_order_they_hear",
    ),
    Guard(
        "a renewal waits until the grant is nearly due elsewhere",
        "share/ledger.py",
        {"return max(now, known.time + window - min(EARLY, window / 2))": "return now"},
        "tests/share/test_agent.py::test_a_renewal_is_told_a_minute_before_the_grant_is_due",
    ),
    Guard(
        "times are told by the server's clock",
        "share/clock.py",
        {"        self.ahead = min(found)[1]\n": ""},
        "tests/share/test_agent.py::test_times_are_told_by_the_servers_clock",
    ),
    Guard(
        "what the stream has lost is told again",
        "share/agent.py",
        {"            if not self._begin or self._has_lost(engine):\n": "            if not self._begin:\n"},
        "tests/share/test_share.py::test_a_stream_that_is_emptied_is_filled_again",
    ),
    Guard(
        "a login that was told is not told again",
        "share/knowledge.py",
        {"event is None or event.host != self._host:": "event is None:"},
        "tests/share/test_share.py::test_a_stamp_that_was_told_is_not_told_again",
    ),
    Guard(
        "a stamp that is due goes without a word",
        "share/knowledge.py",
        {"elif change.before and change.before.time > now - self._settings.window:": "elif change.before:"},
        "tests/share/test_agent.py::test_a_grant_that_is_due_goes_without_a_word",
    ),
    Guard(
        "what was ended while popips-share was down is ended on the others when it is back",
        "share/knowledge.py",
        {"self._end(name, event, now)  # ended while nobody looked": "pass"},
        "tests/share/test_share.py::test_what_was_ended_while_nobody_looked_is_ended_there",
    ),
    Guard(
        "a stamp folder that was taken away ends no grant elsewhere",
        "share/here.py",
        {"        if not self._watch_holds():\n": "        if False:\n"},
        "tests/share/test_agent.py::test_a_folder_that_is_taken_away_is_no_end_of_grants",
    ),
    Guard(
        "the certificate must be for the name",
        "share/engine.py",
        {"ssl_check_hostname=True": "ssl_check_hostname=False"},
        "tests/share/test_agent.py::test_a_certificate_is_looked_at_and_its_name_as_well",
    ),
    Guard(
        "a share_from that others may write to is refused",
        "share/told.py",
        {" or state.st_mode & 0o022:": ":"},
        "tests/share/test_share.py::test_it_does_not_start_where_it_cannot_work",
    ),
    Guard(
        "more denials than each login can look through are not heeded",
        "share/denied.py",
        {"    bound(told)  #": "    #", "    bound({host:": "    len({host:"},
        "tests/share/test_agent.py::test_more_denials_than_hosts_can_heed_leave_those_in_force_that_were_known",
    ),
    Guard(
        "where denials cannot be asked for, logins and ends are told all the same",
        AGENT,
        {"            if not error.is_lost:  # an": "            if not error:  # an"},
        "tests/share/test_agent.py::test_where_denials_cannot_be_asked_for_logins_and_ends_are_told_all_the_same",
    ),
    Guard(
        "denials that would grow beyond what can be read are not heeded",
        "share/denied.py",
        {"    bound({host:": "    len({host:"},
        f"{GROWN}[names that grow]",
    ),
    Guard(
        "lines of denials end where they are counted",
        "share/denied.py",
        {'.split("\\n"):': ".splitlines():", "    bound({host:": "    len({host:"},
        f"{GROWN}[lines with other ends]",
    ),
    Guard(
        "a denial by somebody with a long name is still the host's that made it",
        "share/denied.py",
        {"[:LONGEST_BY]": ""},
        "tests/share/test_ledger.py::test_a_denial_by_somebody_with_a_long_name_is_still_the_hosts_that_made_it",
    ),
    Guard(
        "more denials than each login can look through are not told",
        DENYING,
        {"                denied.bound(": "                len("},
        "tests/share/test_agent.py::test_more_denials_than_hosts_can_heed_leave_those_in_force_that_were_known",
    ),
    Guard(
        "who lifts a denial is heard, however many the others have",
        DENYING,
        {'if len(own) > len(there or b""):': "if own:"},
        "tests/share/test_agent.py::test_who_has_more_denials_than_hosts_can_heed_may_lift_some",
    ),
    Guard(
        "a denial reaches the others if its host is lost before it has told of it",
        DENYING,
        {"            if not self.changed:  # else": "            if own == there or not self.changed:  # else"},
        f"{LOST}[killed]",
    ),
    Guard(
        "denials that the server has lost are told again",
        DENYING,
        {"        self._tell(engine": "        self.changed and self._tell(engine"},
        "tests/share/test_agent.py::test_denials_that_the_server_has_lost_are_told_again",
    ),
    Guard(
        "denials of a host that is down hold when the server comes back without them",
        DENYING,
        {"denied.heeded(fields, self._known,": "denied.heeded(fields, {},"},
        f"{DOWN}[goes on]",
    ),
    Guard(
        "so they do after a boot",
        "share/knowledge.py",
        {"self.here.denied_elsewhere() if": 'b"" if'},
        f"{DOWN}[is booted]",
    ),
    Guard(
        "who denies nobody any more says so, for nothing is no answer",
        "share/engine.py",
        {"            client.hset(self.denials": "            data and client.hset(self.denials"},
        f"{DOWN}[goes on]",
    ),
    Guard(
        "what changes at the server without a word is heard within a minute",
        DENYING,
        {" or time.monotonic() - self._asked > AGAIN": ""},
        "tests/share/test_agent.py::test_what_changes_at_the_server_without_a_word_is_heard_in_time",
    ),
    Guard(
        "two of one name that deny others do not answer each other for ever",
        DENYING,
        {" or time.monotonic() - self._answered < AGAIN:": ":"},
        "tests/share/test_agent.py::test_two_of_one_name_that_deny_others_do_not_answer_each_other_for_ever",
    ),
    Guard(
        "of two of one name nobody warns when one has another",
        "share/fleet.py",
        {"            self._hosts.pop(self._name, None)\n": ""},
        RENAMED,
    ),
    Guard(
        "denials that take too much memory are not read",
        "share/engine.py",
        {"if size > LARGEST:": "if size < 0:"},
        "tests/share/test_agent.py::test_denials_that_take_too_much_memory_are_not_read_and_all_else_goes_on",
    ),
    Guard(
        "a popips-share that was ended is not connected",
        "share/agent.py",
        {"            self._fleet.end(": "            str("},
        "tests/share/test_share.py::test_sigterm_ends_it_and_what_was_told_stays",
    ),
    Guard(
        "a stream whose last entry is of the future is begun anew",
        AGENT,
        {"        if self._is_ahead(self._last) and": "        if not self._last and"},
        f"{FUTURE}[an hour]",
    ),
    Guard(
        "a stream that takes no more entries is begun anew",
        AGENT,
        {"            except Full:\n": "            except KeyError:\n"},
        f"{FULL}[for ever]",
    ),
    Guard(
        "no entry is lost when the server's clock is put",
        AGENT,
        {"if taken[0] and self._is_ahead": "if not taken and self._is_ahead"},
        "tests/share/test_agent.py::test_a_clock_that_is_put_loses_no_entry[the server's]",
    ),
    Guard(
        "no entry is lost when a host's clock is put",
        AGENT,
        {"        if self._clock.has_moved():\n            self._clock.measure(engine.time)\n": ""},
        "tests/share/test_agent.py::test_a_clock_that_is_put_loses_no_entry[this host's]",
    ),
    Guard(
        "a host ends nothing that another one of its name has told",
        "share/knowledge.py",
        {"if event.is_live and event.is_own and name": "if event.is_live and event.host == self._host and name"},
        NAMESAKES,
    ),
    Guard(
        "what another host of that name has told is still its own when this one is started again",
        "share/knowledge.py",
        {"elif name not in self.told.events:  # else": "else:  #"},
        NAMESAKES,
    ),
    Guard(
        "hosts of one name hear each other",
        AGENT,
        {" and (its.by == self._knows.told.id or not self._knows.is_complete)": ""},
        NAMESAKES,
    ),
    Guard(
        "what was ended while a host was down stays ended after a boot",
        AGENT,
        {" or not self._knows.is_complete)\n": ")\n"},
        "tests/share/test_agent.py::test_what_was_ended_while_a_host_was_down_stays_ended_after_a_boot_and_ends_on_the_others",
    ),
    Guard(
        "what this host has told before is not told to itself after a boot",
        "share/knowledge.py",
        {"((hides or is_newer(event, here)) and not event.is_own)": "not event.is_own"},
        "tests/share/test_agent.py::test_what_a_host_wrote_before_it_was_booted_is_no_other_host",
    ),
    Guard(
        "an end of the future hides no login after it, when the clock has been put back",
        "share/agent.py",
        {"self._knows.sweep(now)  # or an end": "pass  # or an end"},
        PUT_BACK,
    ),
    Guard(
        "what was ended elsewhere before the clock was put back covers the login here that is of the future",
        "share/told.py",
        {"                    new = covering(new, last, now)\n": "                    pass\n"},
        ENDED,
    ),
    Guard(
        "what ends a login here that is of the future covers it",
        "share/knowledge.py",
        {"covering(event, self.here.logins.get(name), now)": "event"},
        ENDED,
    ),
    Guard(
        "what was ended before somebody logged in does not cover that login when the clock is put back",
        "share/told.py",
        {"                if last and last.time <= event.time:\n": "                if last:\n"},
        ENDED,
    ),
    Guard(
        "an end that covers a login of the future hides no login here after that",
        "share/knowledge.py",
        {"if known and is_ahead(known, now) and change": "if not known and change"},
        ENDED,
    ),
    Guard(
        "nor one on another host",
        "share/knowledge.py",
        {"if (event.is_live and known and is_ahead(known, now)) or is_newer": "if is_newer"},
        ENDED,
    ),
    Guard(
        "nor does the stamp that it covers",
        "share/knowledge.py",
        {"((hides or is_newer(event, here))": "(is_newer(event, here)"},
        ENDED,
    ),
    Guard(
        "denials on other hosts end by this host's clock, also when it is put",
        "share/agent.py",
        {"self._denying.begin()  # they are over": "pass  # they are over"},
        PUT_BACK,
    ),
    Guard(
        "what others told stays when the clock is put back",
        "share/told.py",
        {"                    self.put(name, new)": "                    self._remove(name)"},
        "tests/share/test_told.py::test_what_is_due_goes_and_what_is_of_the_future_is_of_now",
    ),
    Guard(
        "who logs in while much is heard is told of at once",
        AGENT,
        {"if self._is_heard and time.monotonic() >=": "if self._knows.is_complete and time.monotonic() >="},
        "tests/share/test_agent.py::test_who_logs_in_while_much_is_heard_is_told_of_at_once",
    ),
    Guard(
        "a server that is back is told within a second of what was new meanwhile",
        AGENT,
        {"RETRY = 0.5  # seconds": "RETRY = 5.0"},
        "tests/share/test_agent.py::test_a_server_that_is_back_is_told_within_a_second",
    ),
    Guard(
        "a master that has become a replica is left",
        "share/engine.py",
        {"isinstance(error, redis.ReadOnlyError) or not": "not"},
        "tests/share/test_share.py::test_an_address_that_moves_to_another_master_is_followed",
    ),
)
