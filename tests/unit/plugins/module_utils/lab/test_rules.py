# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kube-proxy's rules, the load balancer's rules, the lines' commands and the CPU masks as text."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from ansible_collections.netbench.cni.plugins.module_utils.lab.pinning import cpu_mask
from ansible_collections.netbench.cni.plugins.module_utils.lab.services import balancer_rules, kube_proxy_rules
from ansible_collections.netbench.cni.plugins.module_utils.lab.shaping import line_commands, rate_command
from ansible_collections.netbench.cni.plugins.module_utils.lab.spec import parse
from ansible_collections.netbench.cni.plugins.module_utils.lab.topology import ClusterLayout, lay_out


def cluster(datapath: str = "vxlan", workers: int = 3) -> ClusterLayout:
    wanted = {"clusters": [{"name": "c", "datapath": datapath, "workers": workers}]}
    return lay_out(parse(wanted, frozenset({0})), (0,)).clusters[0]


def rules_of(layout: ClusterLayout) -> list[str]:
    return kube_proxy_rules(layout, layout.workers[0]).splitlines()


def test_every_chain_that_is_jumped_to_is_declared() -> None:
    rules = rules_of(cluster())
    declared = {line[1:].split()[0] for line in rules if line.startswith(":")}
    targets = {match for line in rules for match in re.findall(r"-j (KUBE-\S+|FLANNEL-\S+)", line)}
    assert targets == declared
    assert all(len(chain) <= 28 for chain in declared)


def test_each_pod_is_picked_with_the_same_probability() -> None:
    rules = rules_of(cluster(workers=4))
    spread = next(line.split()[-1] for line in rules if "--dport 5300" in line and "KUBE-SVC" in line and "tcp" in line)
    picks = [line for line in rules if line.startswith(f"-A {spread} ") and "KUBE-SEP" in line]
    left, chances = 1.0, []
    for line in picks:
        probability = re.search(r"--probability (\S+)", line)
        chance = left * (float(probability.group(1)) if probability else 1.0)
        chances.append(chance)
        left -= chance
    assert chances == pytest.approx([0.25] * 4, abs=1e-6)


def test_only_the_service_with_affinity_and_choice_remembers_its_clients() -> None:
    rules = rules_of(cluster())
    remembered = [line for line in rules if "--set" in line]
    assert len(remembered) == 3 * 2  # pods × protocols, of the service `iperf` alone
    assert not [line for line in rules_of(cluster(workers=1)) if "recent" in line]


def test_node_ports_and_the_balancers_address_are_masqueraded_and_hairpins_too() -> None:
    rules = rules_of(cluster())
    external = {line.split()[-1] for line in rules if "KUBE-NODEPORTS -p" in line}
    for chain in external:
        assert f"-A {chain} -j KUBE-MARK-MASQ" in rules
    assert (
        len([line for line in rules if re.search(r"-A KUBE-SEP-\S+ -s 10\.244\.\d+\.\d+/32 -j KUBE-MARK-MASQ", line)])
        == 18
    )
    order = [n for n, line in enumerate(rules) if line.startswith("-A KUBE-SERVICES")]
    assert "dst-type LOCAL" in rules[order[-1]]
    assert all(earlier < later for earlier, later in pairwise(order))


def test_pods_are_not_masqueraded_towards_services_of_their_own_network() -> None:
    assert any("! -s 10.244.0.0/16 -d 10.96." in line for line in rules_of(cluster()))
    assert any("! -s 10.0.10.0/24 -d 10.96." in line for line in rules_of(cluster("routed")))
    assert not [line for line in rules_of(cluster("routed")) if "FLANNEL" in line]


def test_the_balancer_hashes_addresses_and_for_the_spread_service_ports_too() -> None:
    layout = cluster()
    rules = balancer_rules(layout)
    assert rules.count("dnat to jhash ip saddr . ip daddr mod 3 ") == 2 * 4
    assert "jhash ip saddr . tcp sport . ip daddr . tcp dport mod 3 " in rules
    for worker in layout.workers:
        assert rules.count(f": {worker.address}") == 2 * 5


def test_a_shared_line_is_one_bucket_and_a_line_a_direction_is_two() -> None:
    links, commands = line_commands(["ens3", "ens5"], 8_000_000, True, 262144, 0.025)
    assert [link.name for link in links] == ["line"]
    assert len([line for line in commands if "redirect dev line" in line]) == 4
    links, commands = line_commands(["ens3"], 8_000_000, False, 262144, 0.025)
    assert [link.name for link in links] == ["line-out", "line-in"]
    assert any("parent ffff:" in line and "redirect dev line-in" in line for line in commands)
    assert any("parent 1:" in line and "redirect dev line-out" in line for line in commands)


def test_the_queue_holds_what_the_line_sends_in_its_time() -> None:
    assert rate_command("line", 8_000_000, 100_000, 0.025).endswith("tbf rate 8000000bit burst 100000 limit 125000")


def test_cpu_masks_are_the_kernels_bitmaps() -> None:
    assert cpu_mask((0,)) == "00000001"
    assert cpu_mask((1, 3)) == "0000000a"
    assert cpu_mask((32,)) == "00000001,00000000"
    assert cpu_mask((0, 64)) == "00000001,00000000,00000001"
