"""Guards of the maps: journal, locks, seal, mtime, and what postmap makes."""

from __future__ import annotations

from tests.guards import Guard

GUARDS = (
    # ---- the journal
    Guard(
        "a change is in the journal before it is in the map",
        "popips/maps/in_place.py",
        {"        self._journal.keep(change)\n": ""},
        "tests/maps/test_journal.py::test_the_next_writer_finishes_or_forgets_what_a_dead_one_began",
    ),
    Guard(
        "the journal is on the disk before the map changes",
        "popips/maps/journal.py",
        {"                os.fsync(fd)\n": ""},
        "tests/test_torture.py::test_power_loss[hook, a bucket splits]",
    ),
    Guard(
        "the map is on the disk before its journal is done with",
        "popips/maps/in_place.py",
        {"                os.fdatasync(fd)\n": ""},
        "tests/test_torture.py::test_power_loss[hook, a bucket splits]",
    ),
    Guard(
        "a torn journal is forgotten",
        "popips/maps/pages.py",
        {"data[:start] != MAGIC + _packed(digest(content), len(content))": "not data.startswith(MAGIC)"},
        "tests/maps/test_journal.py::test_a_change_is_read_back_as_it_was_written",
    ),
    Guard(
        "what a dead writer left is never put over an admin's rebuild",
        "popips/maps/in_place.py",
        {"not change.not_begun(fd) and change.begun(fd)": "True"},
        "tests/maps/test_journal.py::test_what_a_dead_writer_left_is_never_put_over_an_admins_rebuild",
    ),
    Guard(
        "a journal that others could write is refused",
        "popips/maps/journal.py",
        {"            _check(fd, self.path)\n": "            pass\n"},
        "tests/maps/test_refused.py::test_an_unsafe_journal_is_refused",
    ),
    Guard(
        "room for a change is kept while there is some",
        "popips/maps/journal.py",
        {"        self.make_room(ROOM)\n": ""},
        "tests/maps/test_full_disk.py::test_the_room_for_it_is_there_before_the_first_change",
    ),
    # ---- locks
    Guard(
        "a map is compared with its copy under its lock",
        "popips/maps/in_place.py",
        {"state_of(fd) == copy.state and change.not_begun(fd)": "True"},
        "tests/maps/test_lock.py::test_a_map_that_was_rebuilt_before_the_commit_is_copied_again",
    ),
    Guard(
        "a map is written under the exclusive lock",
        "popips/maps/in_place.py",
        {"locked(self._place, True, self._until)": "locked(self._place, False, self._until)"},
        "tests/maps/test_lock.py::test_bytes_are_written_under_the_exclusive_lock_alone",
    ),
    Guard(
        "the lock is the one that a sendmail with fcntl takes, too",
        "popips/maps/lock.py",
        {
            "fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _range(fcntl.F_WRLCK if exclusive else fcntl.F_RDLCK))": "pass",
        },
        "tests/maps/test_lock.py::test_the_locks_of_both_builds_of_sendmail_are_respected",
    ),
    Guard(
        "the lock of a file that has lost its name meanwhile counts for nothing",
        "popips/maps/lock.py",
        {"                if _has_name(self.fd, path):\n": "                if True:\n"},
        "tests/maps/test_lock.py::test_a_journal_that_was_removed_while_waiting_is_made_anew",
    ),
    Guard(
        "who waits for the writers' lock is let go once another has dealt with his request",
        "popips/maps/lock.py",
        {"        if wait.gone and wait.gone():\n            raise NotNeeded\n": ""},
        "tests/test_crowd.py::test_whoever_waits_while_another_deals_with_his_request_does_nothing",
    ),
    # ---- the mtime
    Guard(
        "a change moves the map's mtime on",
        "popips/maps/base.py",
        {"        os.utime(fd, ns=(os.fstat(fd).st_atime_ns, mtime))\n": ""},
        "tests/maps/test_mtime.py::test_a_second_change_in_one_second_is_shown_in_the_next_and_the_seal_holds[hash]",
    ),
    Guard(
        "connections that have the map open are shown a change of the same second",
        "popips/maps/base.py",
        {"                self._advance(fd)\n": ""},
        "tests/maps/test_mtime.py::test_a_second_change_in_one_second_is_shown_in_the_next_and_the_seal_holds[hash]",
    ),
    Guard(
        "the map's mtime stays behind a text that is to be built",
        "popips/maps/seal.py",
        {" or old < text <= new else new": " else new"},
        "tests/maps/test_mtime.py::test_the_mtime_of_a_changed_map",
    ),
    # ---- the seal
    Guard(
        "a seal holds in its own boot only",
        "popips/maps/seal.py",
        {"        if len(words) != 4 or words[3] != _boot() or not words[3]:\n": "        if len(words) != 4:\n"},
        "tests/maps/test_seal.py::test_in_another_boot_no_seal_holds",
    ),
    Guard(
        "a change seals the map only if its seal held",
        "popips/maps/base.py",
        {
            "        if seal:\n            self._journal.seal = Seal(self._state_of(fd), seal.text, shown)\n": (
                "        text = seal.text if seal else UNKNOWN\n"
                "        self._journal.seal = Seal(self._state_of(fd), text, shown)\n"
            )
        },
        "tests/maps/test_seal.py::test_a_map_that_was_never_looked_at_is_not_sealed_by_a_change",
    ),
    Guard(
        "a map of its own whose seal does not hold is not changed",
        "popips/maps/base.py",
        {
            "        if not seal:\n            raise": "        if not seal and state == '-':\n            raise",
        },
        "tests/maps/test_seal.py::test_whatever_others_do_to_a_map_breaks_its_seal",
    ),
    Guard(
        "what a failed change of a map of its own has begun is forgotten",
        "popips/maps/own.py",
        {"                self._close()  # what libdb has begun is not to be written by the next\n": ""},
        "tests/maps/test_own.py::test_what_found_no_room_is_never_written",
    ),
    Guard(
        "a map of its own that others change while it is read is not written",
        "popips/maps/own.py",
        {"            if state_of(file.fd) != state:\n": "            if not file.fd:\n"},
        "tests/maps/test_own.py::test_what_others_change_before_it_is_written_is_no_map_of_ours",
    ),
    Guard(
        "a map of its own is locked for writing when libdb changes it",
        "popips/maps/own.py",
        {"            file.exclude(Wait(self._until), self._place.path)\n": ""},
        "tests/maps/test_own.py::test_the_map_is_locked_while_libdb_changes_it",
    ),
    Guard(
        "a map that is made from a text is not taken for one's own",
        "popips/maps/own.py",
        {"        self._place.refuse_text()\n": ""},
        "tests/maps/test_own.py::test_a_map_that_is_made_from_a_text_is_not_taken_for_ones_own",
    ),
    # ---- what is in it
    Guard(
        "the NUL behind the records of postmap is kept",
        "popips/maps/database.py",
        {"    if first:\n": "    if not first and first:\n"},
        "tests/maps/test_in_place.py::test_nul_terminated_keys_are_recognised_and_followed",
    ),
    Guard(
        "a text is read again whenever it is another",
        "popips/maps/text.py",
        {"if self.identity != identity(os.stat(self.path)):": 'if self.identity == "-":'},
        "tests/maps/test_text.py::test_it_is_read_again_whenever_it_is_another",
    ),
    # ---- lmdb and cdb
    Guard(
        "the text is on the disk before a map is made of it",
        "popips/maps/whole.py",
        {"        os.fsync(fd)\n        if not head:": "        if not head:"},
        "tests/maps/test_whole.py::test_the_text_is_on_the_disk_before_the_map_is_made_of_it",
    ),
    Guard(
        "what postmap has made is on the disk before it is sealed",
        "popips/maps/whole.py",
        {"            os.fsync(fd)  # after": "            #"},
        "tests/maps/test_whole.py::test_the_text_is_on_the_disk_before_the_map_is_made_of_it[postfix lmdb]",
    ),
    Guard(
        "a text that was not made by popips is left alone",
        "popips/maps/whole.py",
        {'        if head not in (HEAD, b""):\n': "        if False:\n"},
        "tests/maps/test_whole.py::test_a_text_that_was_not_made_by_popips_is_left_alone",
    ),
    Guard(
        "a cdb of sendmail's is on the disk before it takes the place of the old one",
        "popips/maps/makemap.py",
        {"        os.fsync(fd)\n": ""},
        "tests/maps/test_whole.py::test_a_new_file_of_makemaps_is_on_the_disk_before_it_is_renamed",
    ),
    Guard(
        "who has the old cdb open sees that it is old",
        "popips/maps/makemap.py",
        {"ns=(0, LAST)": "ns=(0, os.fstat(fd).st_mtime_ns)"},
        "tests/test_no_berkeley_db.py::test_an_open_session_sees_each_change_of_a_cdb",
    ),
    Guard(
        "whoever is killed meanwhile leaves the old cdb a name, so that the next run can say so",
        "popips/maps/makemap.py",
        {"            _link(place.path, old)\n": ""},
        "tests/test_no_berkeley_db.py::test_an_open_session_sees_that_a_grant_has_ended_wherever_the_run_was_killed",
    ),
    Guard(
        "makemap, which gives what it reads to sendmail's TrustedUser, reads a copy",
        "popips/maps/makemap.py",
        {'f"/proc/self/fd/{copy}"': "place.source"},
        "tests/maps/test_whole.py::test_text_and_map_are_roots[sendmail cdb]",
    ),
    Guard(
        "makemap writes into no file that was there before",
        "popips/maps/makemap.py",
        {"        _remove(new)  # a makemap": "        pass  # a makemap"},
        "tests/maps/test_whole.py::test_what_has_the_name_of_makemaps_new_file_is_not_written_into",
    ),
    Guard(
        "where makemap finds no room, less may fit",
        "popips/maps/makemap.py",
        {"status, said, FULL)": "status, said)"},
        "tests/maps/test_whole.py::test_on_a_full_disk_records_are_taken_out[sendmail cdb-3]",
    ),
)
