"""What `tests.forked` makes is what `subprocess` makes: a process of its own, with a status, and with nothing of others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import forked

SELF = "import os, sys; print(sys.argv[1:], os.getcwd(), sorted(os.environ.items()), sys.stdin.read())"
SLEEP = "import time; print('there', flush=True); time.sleep(100)"


@pytest.mark.parametrize(
    "words",
    [
        ("-c", SELF, "a", "b c"),
        ("-c", "import sys; print(sys.path[0]); sys.exit('a reason')"),
        ("-c", "import atexit, sys; atexit.register(print, 'last'); sys.exit(3)"),
        (
            "-c",
            "import sys, threading, time; threading.Thread(target=lambda: (time.sleep(0.2), print('late'))).start()",
        ),
        ("-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"),
        ("-m", "poolsieve.jobs.cli", "--version"),
        ("-m", "poolsieve.jobs.cli", "run", "no.py", "--out", "o"),
        (forked.POOLSIEVE, "decide", "--out", "nothing"),
    ],
)
def test_a_command_does_and_says_the_same(words: tuple[str, ...], tmp_path: Path) -> None:
    how = {"cwd": tmp_path, "env": {**os.environ, "MINE": "ä"}, "stdin": subprocess.DEVNULL, "timeout": 200}
    line = [sys.executable, *words]
    theirs = subprocess.run(line, capture_output=True, text=True, check=False, **how)  # type: ignore[call-overload]
    ours = forked.run(line, capture_output=True, text=True, check=False, **how)
    assert (ours.returncode, ours.stdout, ours.stderr) == (theirs.returncode, theirs.stdout, theirs.stderr)


def test_a_trace_ends_alike_and_beam_is_there_at_once() -> None:
    code = "import sys; assert 'apache_beam' in sys.modules and 'huggingface_hub' not in sys.modules; 1 / 0"
    done = forked.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.endswith("ZeroDivisionError: division by zero\n"), done.stderr


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_signals_reach_it_and_it_is_there_until_it_is_waited_for(how: signal.Signals) -> None:
    line = [sys.executable, "-c", SLEEP]
    with forked.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True, text=True
    ) as process:
        assert process.stdout and process.stdout.readline() == "there\n"
        assert os.getsid(process.pid) == process.pid and process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.05)
        os.killpg(process.pid, how)
        process.stdout.read()
        os.kill(process.pid, 0)
        assert process.wait(60) == process.poll() == -how
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_what_an_interpreter_reads_at_its_start_starts_one() -> None:
    env = {**os.environ, "PYTHONHASHSEED": "7"}
    line = [sys.executable, "-c", "import sys; print(hash('a'), 'apache_beam' in sys.modules)"]
    said = {run(line, env=env, capture_output=True, text=True).stdout for run in (subprocess.run, forked.run)}
    assert len(said) == 1 and said.pop().endswith(" False\n")
