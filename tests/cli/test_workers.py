"""What a factory may do to its process costs its own verdict and no other."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from foreign_models import placed
from terminals import COMMAND, environment

from initcheck.workers import SERVER_ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Run


def lint(*arguments: str, timeout: float = 120.0) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, whose standard streams the workers share."""
    command = [*COMMAND, *arguments, "--jobs", "1"]
    return subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=timeout, check=False)


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def first_error(text: str) -> str:
    return next(line for line in text.splitlines() if line.startswith("error: "))


@dataclass(frozen=True)
class Crash:
    """A factory that takes its process with it."""

    word: str
    message: str
    options: tuple[str, ...] = ()


CRASHES = (
    Crash(
        "wrong.py:loops",
        "no verdict within 2 s, last seen at wrong.py:<time.sleep(0.01)>; --timeout",
        ("--timeout", "2"),
    ),
    Crash("wrong.py:ends", "the model's code ended the process (exit code 3); "),
    Crash("wrong.py:segfaults", "the model's code crashed the process (SIGSEGV); "),
    Crash("wrong.py:allocates", "MemoryError: Unable to allocate 8.00 GiB", ("--max-memory", "100MB")),
    Crash("wrong.py:allocates_tensor", "; --max-memory allows more", ("--max-memory", "100MB")),
)


@pytest.mark.parametrize("crash", CRASHES, ids=lambda crash: crash.word.partition(":")[2])
def test_a_crash_costs_one_verdict_only(folder: Path, run: Callable[..., Run], crash: Crash) -> None:
    result = run(crash.word, "wrong.py:good", "models.py:build(depth=30)", "-f", "json", *crash.options)
    report = json.loads(result.stdout)
    assert result.code == 2
    assert first_error(result.stderr).startswith(f"error: {crash.word}: ")
    assert placed(crash.message) in first_error(result.stderr)
    assert [model["status"] for model in report["models"]] == ["failed", "ok", "ok"]
    assert [finding["target"] for finding in report["findings"]] == ["models.py:build(depth=30)"]


def test_what_foreign_code_writes_and_leaves_behind_does_not_disturb_the_report(folder: Path) -> None:
    words = [f"wrong.py:{name}" for name in ("prints", "warns", "spawns", "forks")]
    result = lint(*words, "-f", "json", timeout=60.0)
    assert result.returncode == 0, result.stderr[-500:]
    assert [model["status"] for model in json.loads(result.stdout)["models"]] == ["ok"] * 4
    assert "xxxx" in result.stderr
    assert "raw" in result.stderr
    assert "careless" not in result.stderr


@pytest.mark.slow
def test_warnings_are_shown_where_asked_for(folder: Path) -> None:
    assert "careless" in lint("wrong.py:warns", "-v").stderr


def test_one_target_cannot_spoil_the_next(folder: Path, run: Callable[..., Run]) -> None:
    alone = json.loads(run("models.py:build", "wrong.py:good", "-f", "json").stdout)
    after = json.loads(run("wrong.py:changes", "models.py:build", "wrong.py:good", "-f", "json", "--jobs", "1").stdout)
    assert after["models"][1:] == alone["models"]
    assert after["models"][0]["target"] == "wrong.py:changes"


def test_the_same_input_gives_the_same_bytes(folder: Path, run: Callable[..., Run]) -> None:
    words = ("models.py:build(depth=30)", "models.py:net", "models.py:Net", "-f", "json")
    assert run(*words, "--jobs", "1").stdout == run(*words, "--jobs", "3").stdout


@pytest.mark.slow
def test_a_script_without_a_guard_is_told_so(folder: Path) -> None:
    script = "import initcheck\nprint(initcheck.check('models.py:build').errors)\n"
    (folder / "script.py").write_text(script, encoding="utf-8")
    done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True, timeout=120, check=False)
    assert "__main__" in done.stdout


def test_an_interrupt_ends_the_workers(folder: Path) -> None:
    command = [*COMMAND, "wrong.py:loops", "wrong.py:loops()", "--jobs", "2"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment()) as process:
        deadline = time.monotonic() + 60
        while len(list(folder.glob("*.pid"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, text = process.communicate(timeout=30)
    assert (process.returncode, text) == (130, "interrupted\n")
    workers = [int(path.stem) for path in folder.glob("*.pid")]
    assert len(workers) == 2
    assert not any(map(is_running, workers))


@pytest.mark.slow
def test_workers_end_with_a_parent_that_was_killed(folder: Path) -> None:
    with subprocess.Popen([*COMMAND, "wrong.py:loops"], env=environment()) as process:
        deadline = time.monotonic() + 60
        while not list(folder.glob("*.pid")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.kill()
    (worker,) = (int(path.stem) for path in folder.glob("*.pid"))
    while is_running(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(worker)


@pytest.mark.slow
def test_where_forking_is_unsafe_each_worker_imports_torch_itself(
    folder: Path, run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("initcheck.workers._context", lambda _: multiprocessing.get_context("spawn"))
    result = run("models.py:build", "wrong.py:ends", "-f", "json")
    assert [model["status"] for model in json.loads(result.stdout)["models"]] == ["ok", "failed"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_server_that_is_forked_has_one_thread() -> None:
    script = (
        "import importlib\nfrom initcheck.workers import PRELOADED\n"
        "for name in PRELOADED: importlib.import_module(name)\n"
        "print([line for line in open('/proc/self/status') if line.startswith('Threads')][0].split()[1])"
    )
    command = [sys.executable, "-c", script]
    threads = subprocess.run(command, capture_output=True, text=True, check=True, env=environment(**SERVER_ENVIRONMENT))
    assert threads.stdout.strip() == "1"
