# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What breaks in mid-trial is retried or failed with its reason, and the matrix goes on."""

from __future__ import annotations

import re
import signal

from ansible_collections.netbench.cni.plugins.plugin_utils.model import FinishedTrial
from tests.faults.scene import EXTERNAL, POD_TO_POD, Scene, signal_all
from tests.unit.lab_state import eventually

RUN = "faults-broken"


def test_server_killed_in_mid_trial(lab: Scene) -> None:
    """Once in the first trial, which is repeated; each time in the third, which fails."""
    play = lab.measure(RUN, matrix={"retries": 1})
    repeated = lab.wait_for_trial(RUN, 0)
    _kill_server(lab, repeated)
    failed = lab.wait_for_trial(RUN, 2)
    _kill_server(lab, failed)
    lab.wait_for_trial(RUN, 2)
    _kill_server(lab, failed)
    assert play.wait() == 0, play.output
    trials = lab.journal_of(RUN)
    assert [(trial.status, trial.attempts) for trial in trials] == [("ok", 2), ("ok", 1), ("failed", 2), ("ok", 1)]
    assert (trials[0].cluster, trials[2].cluster) == (repeated, failed)
    client = f"faults-{failed}-client"
    assert trials[2].reason == f"iperf3 client on {client}: control socket has closed unexpectedly"
    assert trials[2].metrics == {}
    assert f"failed: {trials[2].reason}" in play.output


def test_link_down_in_mid_trial(lab: Scene) -> None:
    """The deadline fails the trial; with the link up again the rest of the matrix is as before."""
    play = lab.measure(RUN, matrix={})
    lab.wait_for_cluster("flannel")
    lab.inside("flannel-w1", "ip link set ens3 down")
    assert eventually(lambda: _failed(lab), 60), play.output
    lab.inside("flannel-w1", "ip link set ens3 up")
    assert play.wait() == 0, play.output
    trials = lab.journal_of(RUN)
    assert sorted(trial.status for trial in trials) == ["failed", "ok", "ok", "ok"]
    broken = _failed(lab)[0]
    assert (broken.cluster, broken.block) == ("flannel", 1)
    assert broken.reason == "iperf3 client on faults-flannel-client stalled: its test of 2 s did not end within 17 s"
    assert broken.elapsed_seconds < 20
    _repair(lab)  # a link that went down has lost its routes


def test_endpoint_gone_in_mid_trial(lab: Scene) -> None:
    """The cluster's trials fail with their reason, the other cluster's go on."""
    play = lab.measure(RUN, matrix={"retries": 1})
    lab.wait_for_cluster("native")
    gone = lab.endpoint("native-server-1")["pid"]
    signal_all([*lab.iperf3("native-server-1", "server"), gone], signal.SIGKILL)
    assert play.wait() == 0, play.output
    trials = lab.journal_of(RUN)
    assert sorted((trial.cluster, trial.status) for trial in trials) == [
        *[("flannel", "ok")] * 2,
        *[("native", "failed")] * 2,
    ]
    name = "faults-native-server-1"
    for trial in _failed(lab):
        assert re.sub("^(.*): (iperf3|sh) ", r"\1: iperf3 ", trial.reason) == (
            f"{name}: iperf3 failed because the connection did (endpoint '{name}' of lab 'faults' is gone "
            f"(process {gone}): run ansible-playbook site.yml); try `ansible {name} -m ping`."
        )
    _repair(lab)


def test_sampler_killed_in_mid_trial(lab: Scene) -> None:
    """Without samples the trial does not count; it is repeated with another sampler."""
    play = lab.measure(RUN, matrix={"retries": 1})
    lab.wait_for_trial(RUN, 1)
    signal_all([pid for pid, command in lab.processes().items() if "sampler.py" in command], signal.SIGKILL)
    assert play.wait() == 0, play.output
    trials = lab.journal_of(RUN)
    assert [(trial.status, trial.attempts) for trial in trials] == [("ok", 1), ("ok", 2), ("ok", 1), ("ok", 1)]


def _failed(lab: Scene) -> list[FinishedTrial]:
    return [trial for trial in lab.journal_of(RUN) if trial.status == "failed"]


def _repair(lab: Scene) -> None:
    """The lab role sees the damage, mends it, and the lab can be measured."""
    assert "changed=1" in lab.run("provision")
    lab.forget()
    assert "changed=0" in lab.run("provision")
    play = lab.measure(f"{RUN}-repaired", matrix={"blocks": 1, "scenarios": [POD_TO_POD, EXTERNAL]})
    assert play.wait() == 0, play.output
    assert [trial.status for trial in lab.journal_of(f"{RUN}-repaired")] == ["ok"] * 4


def _kill_server(lab: Scene, cluster: str) -> None:
    servers = lab.iperf3(f"{cluster}-server-1", "server")
    assert servers
    signal_all(servers, signal.SIGKILL)
    assert eventually(lambda: not lab.iperf3(f"{cluster}-client", "client"), 30)
