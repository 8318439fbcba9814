"""Guards on the way of a login: the fast lane, the hooks in sh, the drop folder, the follower of logs."""

from __future__ import annotations

from tests.guards import Guard

LANE, LONG_WAY = "pam_hook/lane.sh", "pam_hook/long_way.sh"
AGAIN = "tests/test_second_look.py::test_a_login_is_not_told_yes_by_the_lane_if_meanwhile"
FORMATS, RULES = "follower/formats.py", "follower/rules.py"
QUICK = "line = self.split(text) if self.is_likely(text) else None\n"  # which would keep all but whole logins out
NOT_FOLLOWED = "tests/test_lane.py::test_what_another_user_can_write_is_neither_run_nor_followed"
CLOSES = "tests/test_lane.py::test_what_closes_the_lane_closes_it_for_sh_and_python"
IN_PYTHON, CLOSED = "popips/lane.py", "tests/test_renewed.py::test_it_is_closed"
DROP, NO_PLAIN_FILE = (
    "expirer/drop.py",
    "tests/test_drop.py::test_what_is_not_a_plain_file_of_the_user_is_removed_unread_and_named",
)

GUARDS = (
    # ---- sh looks a second time, after it has written
    Guard(
        "sh looks again whether the stamp is the file that it wrote",
        LANE,
        {'[ /proc/self/fd/6 -ef "$stamp" ] && ': ""},
        f"{AGAIN}[another stamp has its name]",
    ),
    Guard(
        "sh looks again whether the stamp is settled",
        LANE,
        {'-ef "$stamp" ] && [ -x "$stamp" ] && ': '-ef "$stamp" ] && '},
        f"{AGAIN}[its grant is being ended]",
    ),
    Guard(
        "sh looks again whether the lane is open",
        LANE,
        {'[ -x "$stamp" ] && is_open "$1" &&\n': '[ -x "$stamp" ] &&\n'},
        AGAIN,
    ),
    Guard(
        "sh looks whether another run has opened another lane",
        LANE,
        {'[ /proc/self/fd/5 -ef "$1.lane" ] && ': ""},
        f"{AGAIN}[another run has written the lane]",
    ),
    Guard(
        "sh looks whether popips.conf is newer than the last run",
        LANE,
        {' && ! [ "$1" -nt "$lane_stamps/.expire" ]': ""},
        "tests/test_lane.py::test_an_edit_of_the_configuration_closes_the_lane",
    ),
    Guard(
        "sh looks whether the last run is in the future",
        LANE,
        {'[ "$stamp" -nt "$lane_stamps/.expire" ] && ': ""},
        f"{CLOSES}[put_the_clock_back]",
    ),
    Guard(
        "sh looks whether the expirer is alive",
        LANE,
        {' && [ "$lane_stamps/.alive" -nt "$stamp" ]': ""},
        f"{CLOSES}[let_the_expirer_be_dead]",
    ),
    # ---- sh believes no file of another user
    Guard("sh looks whose the folder of popips.conf is", LANE, {'[ -O "$folder" ] && ': ""}, NOT_FOLLOWED),
    Guard("sh looks whose the lane's file is", LANE, {"[ -O /proc/self/fd/5 ] && ": ""}, NOT_FOLLOWED),
    Guard("sh looks whose the stamp folder is", LANE, {'[ -O "$lane_stamps" ] && ': ""}, NOT_FOLLOWED),
    Guard(
        "sh looks whose the stamp is",
        LANE,
        {'! [ -L "$stamp" ] && [ -O "$stamp" ] && ': '! [ -L "$stamp" ] && '},
        NOT_FOLLOWED,
    ),
    Guard("sh follows no link in a stamp's place", LANE, {'! [ -L "$stamp" ] && ': ""}, NOT_FOLLOWED),
    Guard(
        "sh makes a path of nothing but an address",
        LANE,
        {"    case $2 in '' | *[!0-9a-f.:]*) return 1 ;; esac\n": ""},
        "tests/test_lane.py::test_an_unusual_login_takes_the_long_way",
    ),
    Guard(
        "with max_per_user sh renews only for the grant's own user",
        LANE,
        {'?*) [ "$lane_user" = "$3" ] ;; esac': "?*) ;; esac"},
        "tests/test_limits_installed.py::test_the_fast_lane_is_not_for_a_login_that_a_limit_may_bar",
    ),
    Guard(
        "sh renews for no service that only_services keeps out",
        LANE,
        {'in *" $4 "*) ;; *) false ;; esac': 'in *" $4 "*) ;; esac'},
        "tests/test_limits_installed.py::test_the_fast_lane_is_not_for_a_login_that_a_limit_may_bar",
    ),
    # ---- the lane in Python
    Guard(
        "Python looks again whether the stamp is settled",
        "popips/stamps/folder.py",
        {" and bool(state.st_mode & S_IXUSR)\n\n": "\n\n"},
        "tests/test_renewed.py::test_one_whose_grant_is_being_ended_is_told_no_though_the_time_is_set",
    ),
    Guard(
        "Python looks again whether the stamp is the file that it wrote",
        "popips/stamps/folder.py",
        {" and state.st_ino == inode and ": " and "},
        "tests/test_renewed.py::test_one_whose_stamp_is_another_file_by_then_is_told_no",
    ),
    Guard("Python renews no grant that is over", IN_PYTHON, {" or site.is_due(stamp)": ""}, f"{CLOSED}[due]"),
    Guard(
        "Python renews no stamp from the future",
        IN_PYTHON,
        {" or stamp.time > site.now:": ":"},
        f"{CLOSED}[in_the_future]",
    ),
    Guard(
        "Python looks whether the last run is young",
        IN_PYTHON,
        {"last_run is None or not 0 <= site.now - last_run <= DEAD_AFTER or ": ""},
        CLOSED,
    ),
    Guard(
        "Python looks whether popips.conf is as the last run saw it",
        IN_PYTHON,
        {" or folder.read(LANE) != _content(site)": ""},
        CLOSED,
    ),
    Guard(
        "with max_per_user Python renews only for the grant's own user",
        IN_PYTHON,
        {"(there is None or there.user != login.user)": "there is None"},
        "tests/test_renewed.py::test_with_max_per_user_it_is_for_the_user_of_the_grant_only",
    ),
    # ---- a login is never refused, nor held up
    Guard(
        "the hook ends with status 0 wherever dash ends",
        "pam_hook/hook.sh",
        {"trap 'exit 0' EXIT\n": ""},
        "tests/test_login_passes.py::test_a_login_passes_where_fork_is_refused[1-popips-hook]",
    ),
    Guard(
        "the script of Dovecot becomes the server wherever dash ends",
        "pam_hook/postlogin.sh",
        {'trap "$become" EXIT\n': ""},
        "tests/test_login_passes.py::test_a_login_passes_where_fork_is_refused[1-popips-postlogin]",
    ),
    Guard(
        "sh waits for a clock, and not for Python",
        LONG_WAY,
        {"sleep 1.3": "sleep 13"},
        "tests/test_login_passes.py::test_a_login_passes_whatever_python_does_and_that_is_logged[hangs-popips-hook]",
    ),
    # ---- a crowd
    Guard(
        "sh starts no Python while a granter is at work",
        LONG_WAY,
        {"! is_granter && was_seen && exit;": "is_granter;"},
        "tests/test_requests.py::test_while_a_granter_is_at_work_no_python_is_started[popips-hook]",
    ),
    Guard(
        "sh waits for no granter that has died",
        LONG_WAY,
        {' && kill -0 "$granter"; }': "; }", '        kill -0 "$granter" || ! is_granter || return\n': ""},
        "tests/test_requests.py::test_a_granter_that_is_none_is_not_waited_for[dead-popips-hook]",
    ),
    Guard(
        "sh waits for no granter that is older than the last run",
        LONG_WAY,
        {'[ "$marker" -nt "$lane_stamps/.expire" ] && read': "read"},
        "tests/test_requests.py::test_a_granter_that_is_none_is_not_waited_for[older than the last run-popips-hook]",
    ),
    Guard(
        "sh starts Python if the granter that it waits for dies",
        LONG_WAY,
        {'        kill -0 "$granter" || ! is_granter || return\n': ""},
        "tests/test_requests.py::test_a_granter_that_dies_while_it_is_waited_for_is_stood_in_for[popips-hook]",
    ),
    Guard(
        "of those who wait one follows a granter that is done",
        LONG_WAY,
        {'kill -0 "$granter" || ! is_granter || return': 'kill -0 "$granter" || return'},
        "tests/test_requests.py::test_one_of_those_who_wait_follows_a_granter_that_is_done",
    ),
    # ---- the drop folder
    Guard(
        "a file in the drop folder is its user's own",
        DROP,
        {" or state.st_uid != owner or state.st_nlink": " or state.st_nlink"},
        NO_PLAIN_FILE,
    ),
    Guard(
        "a file in the drop folder has one name",
        DROP,
        {" or state.st_nlink != 1:": ":"},
        NO_PLAIN_FILE,
    ),
    Guard(
        "a link in the drop folder is not followed",
        DROP,
        {"os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK": "os.O_RDONLY | os.O_NONBLOCK"},
        NO_PLAIN_FILE,
    ),
    Guard(
        "a user's folder is his alone",
        DROP,
        {"    if state.st_uid != owner or state.st_mode & 0o022:\n": "    if False:\n"},
        "tests/test_drop.py::test_a_folder_that_is_not_its_users_alone_is_named_and_not_read",
    ),
    Guard(
        "a link in place of a user's folder is not followed",
        DROP,
        {"os.O_DIRECTORY | os.O_NOFOLLOW": "os.O_DIRECTORY"},
        "tests/test_drop.py::test_a_link_in_place_of_a_users_folder_is_not_followed",
    ),
    Guard(
        "an address without its newline is not whole",
        DROP,
        {'(text.endswith("\\n") and _is_closed(fd))': "_is_closed(fd)"},
        "tests/test_drop.py::test_a_file_that_is_on_its_way_is_left",
    ),
    Guard(
        "a file that somebody is writing is left",
        DROP,
        {'(text.endswith("\\n") and _is_closed(fd))': 'text.endswith("\\n")'},
        "tests/test_drop.py::test_a_file_that_is_on_its_way_is_left",
    ),
    # ---- the log
    Guard(
        "a head stands where a line begins",
        "follower/heads.py",
        {"HEAD.match(text)": "HEAD.search(text)"},
        "tests/follow/test_heads.py::test_what_is_no_head_makes_no_login",
    ),
    Guard(
        "a host has no colon at its end",
        "follower/heads.py",
        {'{0,254}[^ :\\[\\]]"': '{0,254}[^ ]"'},
        "tests/follow/test_heads.py::test_what_is_no_head_makes_no_login",
    ),
    Guard(
        "a message is a login as a whole",
        FORMATS,
        {"found = pattern.fullmatch(": "found = pattern.search(", QUICK: "line = self.split(text)\n"},
        "tests/follow/test_heads.py::test_a_login_line_inside_another_line_grants_nothing",
    ),
    Guard(
        "a login of Dovecot's has the process of a mailbox",
        "follower/formats/dovecot.conf",
        {", mpid=[1-9][0-9]{0,9}": "(?:, mpid=[1-9][0-9]{0,9})?"},
        "tests/follow/test_cut.py::test_no_piece_of_a_message_that_dovecot_cut_is_a_login",
    ),
    Guard(
        "the line before a login is its own as a whole",
        FORMATS,
        {"began = pattern.fullmatch(": "began = pattern.search(", QUICK: "line = self.split(text)\n"},
        "tests/follow/test_age.py::test_the_line_before_a_login_counts_as_a_whole",
    ),
    Guard(
        "a login has a program of its server's",
        "follower/heads.py",
        {' or not is_wanted(head["program"])': ""},
        "tests/follow/test_heads.py::test_what_is_no_head_makes_no_login",
    ),
    Guard(
        "a line that is too long is none",
        "follower/lines.py",
        {" if len(line) <= self._longest": ""},
        "tests/follow/test_lines.py::test_of_a_line_that_is_too_long_not_even_the_rest_counts",
    ),
    Guard(
        "the two lines of a login are of one process",
        FORMATS,
        {
            'self.sessions.pop((line.program, line.pid), (0.0, ""))': "self.sessions.popitem()[1] if self.sessions "
            'else (0.0, "")'
        },
        "tests/follow/test_age.py::test_the_two_lines_of_a_login_belong_together_by_their_process",
    ),
    Guard(
        "the line before a login is not of a process of long ago",
        FORMATS,
        {" and abs(time - began) <= SESSION": ""},
        "tests/follow/test_age.py::test_the_two_lines_of_a_login_belong_together_by_their_process",
    ),
    Guard(
        "a login of the log is not older than the window",
        RULES,
        {"not now - window < login.time <= now + AHEAD": "not login.time <= now + AHEAD"},
        "tests/follow/test_age.py::test_a_login_counts_from_its_own_time",
    ),
    Guard(
        "a login of the log counts from its own time",
        RULES,
        {"return min(login.time, now)": "return now"},
        "tests/follow/test_age.py::test_a_log_that_is_read_once_more_grants_only_what_is_of_now",
    ),
    Guard(
        "a login of the log is to a mailbox",
        RULES,
        {"(login.service not in MAILBOX and login.service not in named)": "False"},
        "tests/follow/test_age.py::test_a_service_that_is_no_mailbox_is_named_in_only_services",
    ),
    Guard(
        "an entry of the journal is of the server's unit",
        "follower/journal.py",
        {"if not isinstance(unit, str) or not any(fnmatchcase(unit, pattern) for pattern in units):": "if False:"},
        "tests/follow/test_journal.py::test_any_other_entry_is_none",
    ),
)
