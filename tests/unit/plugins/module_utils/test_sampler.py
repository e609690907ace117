# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real sampler on this machine, and in namespaces made for the test."""

from __future__ import annotations

import ast
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ansible_collections.netbench.cni.plugins.module_utils import flow_probe, sampler
from ansible_collections.netbench.cni.plugins.plugin_utils import sampling

INTERVAL = 0.05
DEADLINE = 15.0


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"not within {DEADLINE} s: {what}")


class Watch:
    """A sampler under test."""

    def __init__(self, directory: Path, *options: str, before: tuple[str, ...] = ()) -> None:
        self.spool = directory / "spool"
        self.control = directory / "control"
        arguments = ["--spool", str(self.spool), "--control", str(self.control), "--interval", str(INTERVAL)]
        if "--max-seconds" not in options:
            arguments += ["--max-seconds", "60"]
        command = [*before, sys.executable, sampler.__file__, *arguments, *options]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    def tell(self, words: str) -> None:
        self.control.write_text(words)

    def entries(self) -> list[dict[str, Any]]:
        text = self.spool.read_text() if self.spool.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def sweeps(self) -> list[dict[str, Any]]:
        return [entry for entry in self.entries() if "stat" in entry]

    def wait_for_sweeps(self, count: int) -> None:
        wait_until(lambda: len(self.sweeps()) >= count or self.process.poll() is not None, f"{count} sweeps")

    def stop(self) -> list[dict[str, Any]]:
        self.tell("stop\n")
        assert self.process.wait(DEADLINE) == 0
        return self.entries()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Watch]]:
    started: list[Watch] = []

    def make(*options: str, **kwargs: Any) -> Watch:
        started.append(Watch(tmp_path, *options, **kwargs))
        return started[-1]

    yield make
    for watch in started:
        watch.process.kill()
        watch.process.communicate()


def test_it_watches_this_machine_and_tells_what_that_cost(start: Callable[..., Watch]) -> None:
    watch = start()
    watch.wait_for_sweeps(3)
    watch.tell("pro")
    watch.tell("be\nnonsense\nsweep\n")
    wait_until(lambda: any("probe_seconds" in entry for entry in watch.entries()), "a probe")
    entries = watch.stop()
    assert entries[0] == {
        "hello": 1,
        "pid": watch.process.pid,
        "clock_ticks": os.sysconf("SC_CLK_TCK"),
        "interval": INTERVAL,
    }
    assert entries[-1]["bye"] == 1
    assert 0 < entries[-1]["cpu_seconds"] < entries[-1]["seconds"] + 1
    spool = sampling.parse_spool(watch.spool.read_text().splitlines())
    assert spool.cpu_seconds == entries[-1]["cpu_seconds"]
    assert 0 < spool.probes[0].probe_seconds < 1
    first, last = spool.samples[0], spool.samples[-1]
    assert abs(first.realtime - time.time()) < DEADLINE
    assert first.memory_used_bytes > 1e6
    use = sampling.cpu_use(spool, first.realtime, last.realtime, None)
    assert use.cpus == os.cpu_count()
    assert 0 <= use.busy <= use.cpus
    assert "lo" in sampling.nic_rates(spool, first.realtime, last.realtime, "")
    assert sampling.drops(spool, first.realtime, last.realtime, [""]).keys() == {
        "nic_rx", "nic_tx", "socket_buffer", "backlog", "qdisc",
    }  # fmt: skip


def test_the_sweeps_keep_to_the_clock(start: Callable[..., Watch]) -> None:
    watch = start()
    watch.wait_for_sweeps(31)
    watch.stop()
    times = [entry["m"] for entry in watch.sweeps()]
    late = sorted((when - times[0]) % INTERVAL for when in times[1:])
    # Without drift they stay near the multiples of the interval (of which a busy machine may miss some).
    middle = late[len(late) // 2]
    assert min(middle, INTERVAL - middle) < INTERVAL / 5
    assert times[-1] - times[0] < 31 * INTERVAL * 2


def test_busy_by_idle_is_at_least_what_we_burn_ourselves(start: Callable[..., Watch]) -> None:
    watch = start()
    watch.wait_for_sweeps(2)
    begin, burnt = time.time(), time.process_time()
    while time.time() - begin < 1.0:
        sum(range(1000))
    end, burnt = time.time(), time.process_time() - burnt
    wait_until(lambda: watch.sweeps()[-1]["r"] > end, "a sample after the end")
    spool = sampling.parse_spool([json.dumps(entry) for entry in watch.stop()])
    use = sampling.cpu_use(spool, begin, end, None)
    assert use.busy * (end - begin) >= burnt - 0.02 * use.cpus
    assert use.busy <= use.cpus


def test_max_seconds_end_it(start: Callable[..., Watch]) -> None:
    watch = start("--max-seconds", "0.3")
    assert watch.process.wait(DEADLINE) == 0
    assert watch.entries()[-1]["bye"] == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_good_order(start: Callable[..., Watch], number: int) -> None:
    watch = start()
    watch.wait_for_sweeps(2)
    watch.process.send_signal(number)
    assert watch.process.wait(DEADLINE) == 0
    assert watch.entries()[-1]["bye"] == 1


def test_it_ends_when_its_files_are_removed(start: Callable[..., Watch]) -> None:
    watch = start()
    watch.wait_for_sweeps(2)
    watch.spool.unlink()
    watch.control.unlink()
    assert watch.process.wait(DEADLINE) == 0


def test_it_ends_when_its_parent_has_died(start: Callable[..., Watch]) -> None:
    watch = start(before=("sh", "-c", '"$@"; true', "sh"))
    watch.wait_for_sweeps(2)
    pid = watch.entries()[0]["pid"]
    assert pid != watch.process.pid
    watch.process.kill()
    watch.process.wait()
    wait_until(lambda: not Path(f"/proc/{pid}").exists() or state_of(pid) == "Z", "the orphan's end")
    assert watch.entries()[-1]["bye"] == 1


def state_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"


def test_a_full_disk_leaves_whole_lines_and_a_marked_gap(start: Callable[..., Watch]) -> None:
    # A limit on the file's size looks like a full disk: one write is cut short, the following ones fail.
    watch = start()
    watch.wait_for_sweeps(2)
    limit = watch.spool.stat().st_size + 3000
    resource.prlimit(watch.process.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    wait_until(lambda: still(watch.spool), "no room for another line")
    text = watch.spool.read_text()
    assert len(text) <= limit
    assert text.endswith("\n")
    assert watch.process.poll() is None
    before = len(watch.sweeps())
    resource.prlimit(watch.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    watch.wait_for_sweeps(before + 3)
    entries = watch.stop()
    (gap,) = (entry for entry in entries if "gap" in entry)
    assert gap["gap"] > 1
    place = entries.index(gap)
    lost_seconds = entries[place + 1]["m"] - entries[place - 1]["m"]
    assert (gap["gap"] + 1) * INTERVAL <= lost_seconds + INTERVAL / 2
    assert len(sampling.parse_spool(watch.spool.read_text().splitlines()).samples) == len(watch.sweeps())


def still(path: Path) -> bool:
    """Nothing was added for several intervals."""
    before = path.stat().st_size
    time.sleep(8 * INTERVAL)
    return path.stat().st_size == before


class Namespaces:
    """Two network namespaces inside a user namespace, as in a lab without privileges."""

    def __init__(self) -> None:
        self.holder = subprocess.Popen(["unshare", "--user", "--map-root-user", "--net", "sleep", "120"])
        # Users are mapped only after the namespace is there, and before that nobody may unshare in it.
        wait_until(lambda: Path(f"/proc/{self.holder.pid}/comm").read_text() == "sleep\n", "the user namespace")
        self.enter = ("nsenter", "-t", str(self.holder.pid), "-U", "--preserve-credentials", "-n", "--")
        self.pauses = {name: subprocess.Popen([*self.enter, "unshare", "--net", "sleep", "120"]) for name in "ab"}
        for pause in self.pauses.values():
            wait_until(lambda pid=pause.pid: differs(pid, self.holder.pid, os.getpid()), "a network namespace")

    def options(self) -> list[str]:
        return [f"--netns={name}=/proc/{pause.pid}/ns/net" for name, pause in self.pauses.items()]

    def run(self, name: str, script: str) -> None:
        pid = str(self.pauses[name].pid)
        inside = ["nsenter", "-t", pid, "-U", "--preserve-credentials", "-n", "--"]
        subprocess.run([*inside, "sh", "-e", "-c", script], check=True, timeout=DEADLINE)

    def end(self) -> None:
        for process in (*self.pauses.values(), self.holder):
            process.kill()
            process.wait()


def differs(pid: int, *others: int) -> bool:
    own = Path(f"/proc/{pid}/ns/net").readlink()
    return all(own != Path(f"/proc/{other}/ns/net").readlink() for other in others)


@pytest.fixture
def namespaces() -> Iterator[Namespaces]:
    made = Namespaces()
    yield made
    made.end()


SEND = """
import socket, time
receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
receiver.bind(("127.0.0.1", 0))
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(100):
    sender.sendto(bytes(1000), receiver.getsockname())
time.sleep(0.3)  # as good as every socket lives longer than an interval
"""


def test_namespaces_are_told_apart_down_to_where_packets_were_lost(
    start: Callable[..., Watch], namespaces: Namespaces
) -> None:
    watch = start(*namespaces.options(), before=namespaces.enter)
    watch.wait_for_sweeps(2)
    send = f"{sys.executable} -c '{SEND}'"
    namespaces.run("a", f"ip link set lo up; {send}")
    namespaces.run("a", f"tc qdisc add dev lo root tbf rate 8kbit burst 3000 limit 3000; {send}")
    namespaces.run("b", "ip link add new0 type veth peer name new1; ip link set new0 up; ip link set new1 up")
    watch.wait_for_sweeps(len(watch.sweeps()) + 3)
    watch.stop()
    spool = sampling.parse_spool(watch.spool.read_text().splitlines())
    bounds = spool.samples[0].realtime, spool.samples[-1].realtime
    in_a = sampling.drops(spool, *bounds, ["a"])
    assert in_a["socket_buffer"] >= 90
    assert in_a["qdisc"] >= 90
    in_b = sampling.drops(spool, *bounds, ["b"])
    assert (in_b["socket_buffer"], in_b["qdisc"]) == (0, 0)
    assert sampling.nic_rates(spool, *bounds, "a")["lo"].rx_bytes >= 100 * 1028
    assert sampling.nic_rates(spool, *bounds, "b").keys() == {"lo", "new0", "new1"}


def test_a_namespace_whose_process_has_gone_is_read_on(start: Callable[..., Watch], namespaces: Namespaces) -> None:
    watch = start(*namespaces.options(), before=namespaces.enter)
    watch.wait_for_sweeps(2)
    namespaces.end()
    watch.wait_for_sweeps(len(watch.sweeps()) + 3)
    assert watch.sweeps()[-1]["net"].keys() == {"a", "b"}


@pytest.mark.parametrize("path", ["/nowhere/net", "/dev/null"])
def test_a_namespace_that_is_none_is_named(start: Callable[..., Watch], path: str) -> None:
    watch = start(f"--netns=w0={path}")
    _nothing, said = watch.process.communicate(timeout=DEADLINE)
    assert watch.process.returncode == 1
    assert path in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "options", [["--interval", "0"], ["--interval", "-1"], ["--netns", "w0"], ["--interval", "nan"]]
)
def test_options_that_make_no_sense_are_refused(start: Callable[..., Watch], options: list[str]) -> None:
    watch = start(*options)
    _nothing, said = watch.process.communicate(timeout=DEADLINE)
    assert watch.process.returncode == 2
    assert options[0] in said


@pytest.mark.parametrize("program", [sampler, flow_probe])
def test_what_runs_on_targets_is_python_3_7(program: ModuleType) -> None:
    ast.parse(Path(program.__file__ or "").read_text(), feature_version=(3, 7))
