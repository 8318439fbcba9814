"""What runs here: the processes of a container on the same kernel are not this host's."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from popips.probe import units
from popips.probe.machine import Machine


@pytest.mark.parametrize("command", [[], ["unshare", "--pid", "--fork", "--kill-child"]], ids=["here", "contained"])
def test_a_process_counts_if_it_is_this_hosts(tmp_path: Path, command: list[str]) -> None:
    name = f"test-{os.getpid()}-{len(command)}"[:15]  # which no test beside this one has
    program = tmp_path / name
    shutil.copy("/bin/cat", program)
    with subprocess.Popen([*command, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        process.stdin.write(b"up\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"up\n"
        found = units.processes(Machine(), [name])[name]
        process.stdin.close()
    assert found == ([] if command else [process.pid])
