"""Guards of the core: stamps and requests, runs, denials, limits, changed settings."""

from __future__ import annotations

from tests.guards import Guard

GUARDS = (
    # ---- settle
    Guard(
        "a stamp is made before its record",
        "popips/settle.py",
        {
            "        if request:\n            _stamp(site, name, request)\n        site.folder.unsettle(name)\n": "",
            "        if what in fate.OPENING:\n": "        if what in fate.OPENING:\n"
            "            if name in asked:\n                _stamp(site, name, asked[name])\n",
        },
        "tests/test_deaths.py::test_whoever_is_killed_where_no_grant_is_open_without_its_stamp_and_every_static_record"
        "_stays[login, nothing-access]",
    ),
    Guard(
        "a grant's record goes before its stamp",
        "popips/settle.py",
        {"        site.form.take_out(": "        site.folder.remove(name)\n        site.form.take_out("},
        "tests/test_deaths.py::test_whoever_is_killed_where_no_grant_is_open_without_its_stamp_and_every_static_record"
        "_stays[expire, due-access]",
    ),
    Guard(
        "a grant's stamp is unsettled before it ends",
        "popips/settle.py",
        {"                site.folder.unsettle(name)\n                what = ": "                what = "},
        "tests/test_two_at_once.py::test_a_login_by_the_lane_that_is_told_yes_keeps_its_grant_however_far_a_run_has"
        "_come[before keep-due]",
    ),
    Guard(
        "its time is looked at again after that",
        "popips/settle.py",
        {"                what = decide(records, name)  # once more": "                pass  #"},
        "tests/test_two_at_once.py::test_a_run_looks_at_the_stamps_once_more_under_the_lock",
    ),
    Guard(
        "the stamp folder is synced before the map changes",
        "popips/settle.py",
        {"nothing if site.form.place.own else site.folder.sync": "nothing"},
        "tests/test_torture.py::test_power_loss[hook, new address]",
    ),
    Guard(
        "a stamp's time never goes back",
        "popips/settle.py",
        {"        last = max(last, there.time)\n": "        pass\n"},
        "tests/test_crowd.py::test_a_request_never_sets_a_stamps_time_back_nor_ahead_of_the_clock",
    ),
    Guard(
        "only the settings that the records were made by change anything",
        "popips/settle.py",
        {"    elif not kept.is_same(site.form):\n": "    elif False:\n"},
        "tests/test_move.py::test_two_changes_with_a_login_between_them_leave_nothing_in_the_map_between",
    ),
    Guard(
        "what a map is made anew without is unsettled",
        "popips/settle.py",
        {"                site.folder.unsettle(name)\n                there": "                there"},
        "tests/test_own_map.py::test_a_grant_that_was_left_out_when_the_map_was_made_anew_is_not_renewed_by_the_lane[hash]",
    ),
    # ---- what is the admin's
    Guard(
        "a record without a stamp is the admin's",
        "popips/fate.py",
        {"    (NONE, RECORD, ANY, True, False, STATIC),": "    (NONE, RECORD, ANY, True, False, PUT),"},
        "tests/test_grants.py::test_a_static_record_survives_login_and_expiry",
    ),
    Guard(
        "a record of another value is the admin's",
        "popips/site.py",
        {
            "OURS if there == value and stamp else ADMINS": "OURS if there == value and stamp else NONE",
        },
        "tests/test_grants.py::test_a_record_with_a_value_that_is_not_ours_is_static_even_with_a_stamp",
    ),
    Guard(
        "what the admin's text says counts before it is built",
        "popips/site.py",
        {"        if not said:\n": "        if True:\n"},
        "tests/test_grants.py::test_what_the_admin_has_written_counts_before_he_builds_it",
    ),
    Guard(
        "a record that the text says stays when the grant is over",
        "popips/form.py",
        {" and said.get(key) != value": ""},
        "tests/test_grants.py::test_the_record_of_a_grant_goes_unless_the_text_says_that_very_record",
    ),
    Guard(
        "an orphan is looked for twice before it is told of",
        "popips/orphans.py",
        {"range(2)": "range(1)"},
        "tests/test_orphans.py::test_a_grant_that_ends_while_the_map_is_looked_at_is_none",
    ),
    Guard(
        "an orphan is looked at again under the lock before it ends",
        "popips/orphans.py",
        {" and _is_orphan(site, put, key):": ":"},
        "tests/test_orphans.py::test_an_orphan_that_the_admin_puts_while_they_are_looked_for_stays",
    ),
    # ---- requests
    Guard(
        "a request is looked for again under the lock",
        "popips/grant.py",
        {" if requests.is_there(site.folder, request.file)": ""},
        "tests/test_two_at_once.py::test_what_another_has_dealt_with_meanwhile_is_not_dealt_with_again",
    ),
    Guard(
        "a request is removed last",
        "popips/grant.py",
        {
            "        fates = _settled(site, writer, latest)\n": "        _done(site, judged)\n"
            "        fates = _settled(site, writer, latest)\n"
        },
        "tests/test_deaths.py::test_whoever_is_killed_where_no_grant_is_open_without_its_stamp_and_every_static_record"
        "_stays[expire, waiting-access]",
    ),
    Guard(
        "denials are read again under the lock",
        "popips/grant.py",
        {"    bars = policy.bars(site)\n": "    bars: Bars = lambda _: ''\n"},
        "tests/test_denials.py::test_a_denial_that_comes_between_the_login_and_its_grant_counts",
    ),
    Guard(
        "a granter looks once more after it has taken its marker away",
        "popips/grant.py",
        {"                is_granter = False\n": "                break\n"},
        "tests/test_crowd.py::test_the_granter_is_marked_before_it_looks_and_looks_once_more_after",
    ),
    Guard(
        "the marker of a granter that died is taken away",
        "popips/requests.py",
        {"            if _is_alive(pid) and (": "            if ("},
        "tests/test_deferred.py::test_a_granter_that_lives_keeps_its_marker_and_a_dead_ones_is_taken_away",
    ),
    Guard(
        "a login that is older than the window opens nothing",
        "popips/grant.py",
        {"    if not reason and request.time <= site.now - site.settings.window:\n": "    if False:\n"},
        "tests/test_deferred.py::test_a_request_that_is_older_than_the_window_grants_nothing",
    ),
    # ---- what the admin ends
    Guard(
        "end and deny withdraw the requests of their addresses",
        "popips/revoke.py",
        {
            "        requests.withdraw(site.folder, set(names))\n": "        pass\n",
            "        requests.withdraw(site.folder, fates)\n": "",
        },
        "tests/test_ending.py::test_a_login_that_waited_brings_nothing_back",
    ),
    Guard(
        "del withdraws the requests of its addresses",
        "popips/revoke.py",
        {"    requests.withdraw(site.folder, names)\n    there = ": "    there = "},
        "tests/test_ending.py::test_a_login_that_waited_brings_nothing_back",
    ),
    Guard(
        "end syncs the stamp folder",
        "popips/revoke.py",
        {"        site.folder.sync()  # or a power failure would bring them back\n        ended": "        ended"},
        "tests/holds/test_power_loss.py::test_what_the_admin_has_ended_does_not_come_back[end]",
    ),
    Guard(
        "del syncs the stamp folder",
        "popips/revoke.py",
        {"folder.sync()  # or a power failure would bring them back\n    return": "folder\n    return"},
        "tests/holds/test_power_loss.py::test_what_the_admin_has_ended_does_not_come_back[del]",
    ),
    Guard(
        "ins syncs the stamp folder",
        "popips/revoke.py",
        {"        folder.sync()\n": ""},
        "tests/holds/test_power_loss.py::test_what_the_admin_has_put_on_a_grant_is_no_grant_again",
    ),
    Guard(
        "deny writes its list before it ends the grants",
        "popips/db/deny.py",
        {
            "        denials.add(site.folder, new, site.now)\n": "",
            "        finally:\n": "            denials.add(site.folder, new, site.now)\n        finally:\n",
        },
        "tests/test_denials.py::test_a_login_just_after_deny_has_ended_the_grant_gets_no_other",
    ),
    Guard(
        "a list of denials that cannot be read refuses every login",
        "popips/policy.py",
        {"        return lambda _: unclear": "        return lambda _: unclear[:0]"},
        "tests/test_denials.py::test_a_line_that_cannot_be_read_refuses_all_logins_and_names_file_and_line",
    ),
    Guard(
        "a limit ends nobody who has logged in since it was counted",
        "popips/limits.py",
        {" if stamp and stamp.time == over[name].last else": " if stamp else"},
        "tests/test_limits.py::test_a_grant_that_was_counted_as_too_many_and_is_renewed_then_stays",
    ),
    # ---- runs
    Guard(
        "a run notes what there is before it reads it",
        "popips/run.py",
        {'            seen.keep(site, saw, "" if': '            seen.keep(site, seen.saw(site), "" if'},
        "tests/test_seen.py::test_what_comes_while_a_run_looks_is_seen_by_that_or_the_next",
    ),
    Guard(
        "a run asks whether anybody else has changed the map",
        "popips/run.py",
        {"seen.holds(site) and writer.sealed()": "seen.holds(site)"},
        "tests/test_seen.py::test_what_may_have_changed_a_grant_has_all_of_them_looked_at",
    ),
    Guard(
        "a run forgets what the last one saw before it seals the map",
        "popips/run.py",
        {"        seen.forget(self.site)\n": ""},
        "tests/test_seen.py::test_a_run_that_was_killed_has_seen_nothing",
    ),
    Guard(
        "a run makes a map of its own anew if the seal does not hold",
        "popips/run.py",
        {"            rebuild(self.site, writer, self.bars, until=math.inf)\n": "            pass\n"},
        "tests/test_own_map.py::test_records_of_others_do_not_stay",
    ),
    Guard(
        "a run makes a map of its own anew however long that takes",
        "popips/run.py",
        {"until=math.inf": "until=0.0"},
        "tests/test_own_map.py::test_a_run_makes_it_anew_however_long_that_takes_and_a_login_leaves_it_to_the_run[hash]",
    ),
    Guard(
        "a run lets logins have the map between two batches",
        "popips/turns.py",
        {"                writer.give_way(time.monotonic() + site.wait)\n": ""},
        "tests/test_own_map.py::test_a_run_lets_logins_have_their_turn",
    ),
    Guard(
        "on a full disk fewer grants are ended at once",
        "popips/turns.py",
        {"                if size == 1:\n": "                if True:\n"},
        "tests/holds/test_full_disk.py::test_what_is_due_goes_by_the_next_run[access-tmpfs-4000]",
    ),
    # ---- changed settings
    Guard(
        "the new settings are kept after the old records have gone",
        "popips/move.py",
        {
            "meanwhile\n                    _empty(site, writer, old, text)\n": "meanwhile\n",
            "_keep(site, old)\n        except": "_keep(site, old)\n"
            "                    _empty(site, writer, old, text)\n        except",
        },
        "tests/test_move.py::test_whoever_is_killed_while_he_moves_them_the_next_run_has_them_all",
    ),
    Guard(
        "the settings that records were made by are read again under the old map's lock",
        "popips/move.py",
        {"                if (again := form.kept(site.folder)) and again.is_same(kept):": "                if True:"},
        "tests/test_move.py::test_of_two_who_move_at_once_the_later_takes_them_from_where_they_are_by_then",
    ),
    # ---- whom the files are of
    Guard(
        "only an address as it is written canonically is a stamp",
        "popips/address.py",
        {"        return parse(text) == text": "        return bool(parse(text))"},
        "tests/test_stamps.py::test_a_name_that_is_no_canonical_address_is_no_stamp",
    ),
    Guard(
        "only one client's address gets a grant",
        "popips/address.py",
        {"    if packed != LOOPBACK and _is_in(": "    if not packed and _is_in("},
        "tests/test_address.py::test_each_text_in_the_data_file_gets_its_verdict",
    ),
    Guard(
        "a stamp folder that others may write to is refused",
        "popips/stamps/folder.py",
        {"        if state.st_uid not in (0, os.geteuid()) or state.st_mode & 0o022:\n": "        if False:\n"},
        "tests/test_stamps.py::test_a_stamp_folder_that_others_may_write_to_is_refused",
    ),
    Guard(
        "a popips.conf that others may write is refused",
        "popips/configuration.py",
        {" or state.st_mode & 0o022 or": " or"},
        "tests/test_settings.py::test_a_file_that_others_may_write_is_refused_for_root_runs_what_it_says",
    ),
    Guard(
        "a popips.conf that others own is refused",
        "popips/configuration.py",
        {"            if state.st_uid not in owners or ": "            if "},
        "tests/test_settings.py::test_a_file_that_others_may_write_is_refused_for_root_runs_what_it_says",
    ),
    Guard(
        "a name in a command that is told to be pasted is a name, whatever it holds",
        "popips/paste.py",
        {"return text if text and PLAIN.issuperset(text) else": "return text if text else"},
        "tests/test_paste.py::test_a_word_is_what_it_was",
    ),
    Guard(
        "a cure adds no line to one without an end",
        "popips/paste.py",
        {' if text and not text.endswith("\\n") else ""': ' if False else ""'},
        "tests/test_paste.py::test_no_cure_adds_to_a_line_without_an_end",
    ),
    Guard(
        "a list of denials that no login could go through in time is not made",
        "popips/denials.py",
        {"len(kept) >= OWN or ": ""},
        "tests/test_denials.py::test_a_list_that_no_login_could_read_in_time_is_refused_and_not_made",
    ),
    # ---- cron
    Guard(
        "a table in which a line may not be one runs nothing",
        "popips/probe/cron.py",
        {"_of_file(path, state) or _of_lines(machine, path, lines)": "_of_file(path, state)"},
        "tests/test_cron.py::test_a_line_is_a_run_each_minute_or_none",
    ),
    Guard(
        "a table by two names, or that others may write, runs nothing",
        "popips/probe/cron.py",
        {"_of_file(path, state) or _of_lines(machine, path, lines)": "_of_lines(machine, path, lines)"},
        "tests/test_cron.py::test_a_table_that_cron_does_not_read_runs_nothing",
    ),
    Guard(
        "a line of cron's that does more than a run is none",
        "popips/probe/cron.py",
        {"(?:{option})*{QUIET}": "(?:{option})*{QUIET}.*"},
        "tests/test_cron.py::test_a_line_is_a_run_each_minute_or_none",
    ),
)
