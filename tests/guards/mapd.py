"""Guards of popips-mapd: whom it lets relay, and what it takes from a connection."""

from __future__ import annotations

from tests.guards import Guard

ANSWER, WIRE, SERVER = "mapd/answer.py", "mapd/wire.py", "mapd/server.py"
OF_ANSWER, OF_SERVER = "tests/mapd/test_answer.py::test_", "tests/mapd/test_server.py::test_"
WINDOW = "the_window_is_exact_and_a_stamp_from_the_future_opens_nothing"

GUARDS = (
    Guard(
        "popips-mapd lets nobody relay whose window is over",
        ANSWER,
        {"not now - there.settings.window < last <= now": "not last <= now"},
        f"{OF_ANSWER}{WINDOW}[900-False]",
    ),
    Guard(
        "a stamp from the future opens nothing",
        ANSWER,
        {"window < last <= now:": "window < last:"},
        f"{OF_ANSWER}{WINDOW}[-3600-False]",
    ),
    Guard(
        "popips-mapd heeds `never` and the denials at each question",
        ANSWER,
        {"return not policy.bars(there.at(now), self._denied)(name)": "return True"},
        f"{OF_ANSWER}never_and_the_denials_close_at_once_and_open_again",
    ),
    Guard(
        "where nobody knows who is denied, popips-mapd lets nobody relay",
        ANSWER,
        {
            "self._denied, self._opens = None, False  # nobody knows who is denied": "self._denied = Denied([])",
            'self._denied = None\n            self._saw["denials"] = ""': 'self._saw["denials"] = ""',
        },
        f"{OF_ANSWER}where_nobody_knows_who_is_denied_nobody_relays[\\n]",
    ),
    Guard(
        "popips-mapd tells a stamp folder that others may write from the one that it opened",
        ANSWER,
        {":{state.st_uid}:{state.st_mode}": ""},
        f"{OF_ANSWER}a_stamp_folder_that_is_gone_or_that_others_may_write_closes_and_a_new_one_opens",
    ),
    Guard(
        "a mistake in popips.conf does not change what popips-mapd answers",
        ANSWER,
        {"            if self.settings is None:\n                raise\n": "            raise\n"},
        f"{OF_ANSWER}popips_conf_is_read_again_and_one_with_a_mistake_leaves_what_it_said",
    ),
    Guard(
        "a policy request that names an attribute twice opens nothing",
        WIRE,
        {"if not equals or name in found:": "if not equals:"},
        "tests/mapd/test_wire.py::test_a_policy_request_asks_for_an_address_only_at_the_rcpt",
    ),
    Guard(
        "a netstring is no longer than a key can be",
        WIRE,
        {" or int(digits) > LONGEST": ""},
        "tests/mapd/test_wire.py::test_a_netstring_and_a_policy_request_of_the_longest_are_taken_and_one_byte_more_is_not",
    ),
    Guard(
        "who does not take its answers is not read from",
        SERVER,
        {
            "            if not one.left:\n": "            if True:\n",
            "select.EPOLLOUT if one.left else select.EPOLLIN)": "select.EPOLLIN | select.EPOLLOUT)",
            'one.left = b"".join': 'one.left += b"".join',
        },
        f"{OF_SERVER}who_sends_byte_by_byte_or_takes_no_answer_costs_no_more_than_one_request",
    ),
    Guard(
        "the longest idle connection makes way for a new one",
        SERVER,
        {"        if len(self._there) > self._most:\n            self._make_way()\n": ""},
        f"{OF_SERVER}with_thousands_of_connections_the_longest_idle_makes_way_and_all_who_ask_are_served",
    ),
    Guard(
        "where there is no map, what is barred or due counts as closed at once",
        "popips/site.py",
        {"OURS if found in (LIVE, SETTLED) and not barred else NONE": "OURS if stamp else NONE"},
        "tests/mapd/test_kind.py::test_popips_db_lists_inserts_deletes_denies_and_tells_why",
    ),
)
