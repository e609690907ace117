# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each mistake in a matrix gives one sentence that names field and value."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.netbench.cni.plugins.plugin_utils.matrix import parse
from ansible_collections.netbench.cni.plugins.plugin_utils.model import NetbenchError
from ansible_collections.netbench.cni.tests.unit.topology import topology

TCP = {"name": "tcp", "path": "pod_to_pod", "protocol": "tcp"}
CLUSTERS, EXTERNALS = topology()

BAD: list[tuple[dict[str, Any], str]] = [
    ({"blcks": 3}, r"matrix has an unknown key blcks; did you mean blocks\?"),
    ({"scenarios": []}, r"matrix.scenarios is empty; describe at least one scenario"),
    ({"scenarios": None}, r"matrix.scenarios is empty"),
    ({"scenarios": "tcp"}, r"matrix.scenarios is 'tcp'; it must be a list"),
    ({"scenarios": ["tcp"]}, r"matrix.scenarios\[0\] is 'tcp'; it must be a mapping"),
    ({"scenarios": [TCP, TCP]}, r"matrix.scenarios has the name 'tcp' twice"),
    ({"scenarios": [{"path": "pod_to_pod"}]}, r"matrix.scenarios\[0\].name is empty"),
    ({"clusters": ["native", "kalico"]}, r"matrix.clusters names 'kalico', but there is none; known are: flannel, n"),
    ({"clusters": ["native", "native"]}, r"matrix.clusters names 'native' twice"),
    ({"baseline": "nativ"}, r"matrix.baseline is 'nativ', which is not among the clusters measured; did you mean nat"),
    (
        {"clusters": ["flannel"], "baseline": "native"},
        r"baseline is 'native', which is not among the clusters measured",
    ),
    ({"blocks": 0}, r"matrix.blocks is 0; it must be a whole number from 1"),
    ({"blocks": 2.5}, r"matrix.blocks is 2.5; it must be a whole number"),
    ({"blocks": True}, r"matrix.blocks is True; it must be a whole number"),
    ({"margin": "-2%"}, r"matrix.margin is '-2%'; it must be from 0 % to 100 %"),
    ({"margin": "2 apples"}, r"matrix.margin is '2 apples'; it must be a percentage"),
    ({"retries": -1}, r"matrix.retries is -1; it must be a whole number from 0"),
    ({"seed": "x"}, r"matrix.seed is 'x'; it must be a whole number"),
    ({"allow_version_mismatch": "perhaps"}, r"matrix.allow_version_mismatch is 'perhaps'; it must be true or false"),
    ({"void": {"steel_above": 0.1}}, r"matrix.void has an unknown key steel_above; did you mean steal_above\?"),
    ({"void": {"steal_above": "500%"}}, r"matrix.void.steal_above is '500%'; it must be from 0 % to 100 %"),
    ({"evidence": {"iftop": {"scenarios": ["tpc"]}}}, r"names 'tpc', which is no scenario; did you mean tcp\?"),
    ({"evidence": {"iftop": {"seconds": 0}}}, r"matrix.evidence.iftop.seconds is 0 s; it must be 1 s to 3600 s"),
    ({"evidence": {"flow_share": {"flows": 20}}}, r"flow_share.flows is 20; it must be 200 or more"),
    ({"defaults": {"path": "pod_to_pod"}}, r"matrix.defaults has an unknown key path"),
    ({"select": ["tpc"]}, r"matrix.select names 'tpc', which is no scenario; did you mean tcp\?"),
    ({"select": "[?"}, r"matrix.select is no valid JMESPath expression"),
    ({"select": "length(@)"}, r"matrix.select gives 1; the expression must give a list of scenarios"),
    ({"select": "[?protocol=='udp']"}, r"matrix.select leaves no scenario to run"),
    ({"select": "abs('x')"}, r"matrix.select fails on the data: In function abs\(\), invalid type for value: x"),
    ({"select": "[::0]"}, r"matrix.select fails on the data: slice step cannot be zero"),
    ({"select": "(" * 2000}, r"matrix.select is no valid JMESPath expression: maximum recursion depth"),
    ({"select": "[?name<`1`]"}, r"matrix.select fails on the data: '<' not supported between"),
    ({"limits": [{"name": "x", "scenario": "no"}]}, r"matrix.limits\[0\].scenario is 'no', but there is none"),
]
BAD_SCENARIOS: list[tuple[dict[str, Any], str]] = [
    ({"pth": "x"}, r"matrix.scenarios\[0\] has an unknown key pth; did you mean path\?"),
    ({"name": "a/b"}, r"scenario a/b has a name that is no file name"),
    ({"path": "pod_to_pot"}, r"path of scenario tcp is 'pod_to_pot'; it must be one of node_to_node"),
    ({"protocol": "sctp"}, r"protocol of scenario tcp is 'sctp'; it must be one of tcp, udp"),
    ({"forwarding": "local"}, r"forwarding of scenario tcp is 'local', but no service is on the path pod_to_pod"),
    ({"path": "pod_to_service", "forwarding": "remote"}, r"forwarding of scenario tcp is 'remote'; it must be one of"),
    ({"rate": "5 Gbit/s"}, r"rate of scenario tcp is '5 Gbit/s', more than twice the line rate of 2e\+09 bit/s"),
    ({"rate": "201%"}, r"rate of scenario tcp is '201%', more than twice the line rate"),
    ({"rate": "0"}, r"rate of scenario tcp is '0'; it must be 1 kbit/s to 1 Tbit/s"),
    ({"rate": "2 MB/s"}, r"rate of scenario tcp is '2 MB/s'; it must be a rate in bits per second"),
    ({"protocol": "udp"}, r"rate of scenario tcp is missing; UDP needs one"),
    (
        {"protocol": "udp", "rate": "1%", "length": 65508},
        r"length of scenario tcp is 65508; it must be 16 to 65507 byte",
    ),
    ({"protocol": "udp", "rate": "1%", "length": 8}, r"length of scenario tcp is 8; it must be 16 to 65507 bytes"),
    ({"protocol": "udp", "rate": "1%", "mss": 1400}, r"mss of scenario tcp means nothing to UDP"),
    ({"length": "2M"}, r"length of scenario tcp is '2M'; it must be 1 to 1048576 bytes"),
    ({"socket_buffer": "1G"}, r"socket_buffer of scenario tcp is '1G'; it must be 1024 to 536870912 bytes"),
    ({"socket_buffer": "1 s"}, r"socket_buffer of scenario tcp is '1 s'; it must be a whole number of bytes"),
    ({"mss": 20}, r"mss of scenario tcp is 20; it must be 88 to 9216 bytes"),
    ({"streams": 129}, r"streams of scenario tcp\w* is 129; it must be a whole number from 1 to 128"),
    ({"streams": []}, r"streams of scenario tcp is an empty list"),
    ({"streams": [1, 0]}, r"streams of scenario tcp_streams_0 is 0"),
    ({"direction": "backward"}, r"direction of scenario tcp is 'backward'; it must be one of forward, reverse, bidire"),
    ({"family": 5}, r"family of scenario tcp is 5; it must be one of 4, 6"),
    ({"family": 6, "path": "node_to_node"}, r"scenario tcp needs an IPv6 address of flannel-w1, which has none"),
    ({"congestion_control": "rm -rf"}, r"congestion_control of scenario tcp is 'rm -rf'"),
    ({"warmup": "500ms"}, r"warmup of scenario tcp is 0.5 s; it must be 1 s or more"),
    ({"warmup": "1 G"}, r"warmup of scenario tcp is '1 G'; it must be a time in seconds"),
    ({"window": 0.2}, r"window of scenario tcp is 0.2 s; with an interval of 0.1 s it must be 0.5 s or more"),
    ({"window": "10s", "interval": "5s"}, r"window of scenario tcp is 10 s; with an interval of 5 s it must be 25 s"),
    ({"window": "24h"}, r"warm-up and window together must stay below a day"),
    ({"interval": "10ms"}, r"interval of scenario tcp is 0.01 s; iperf3 reports every 0.1 s to 60 s"),
    ({"primary": "speed"}, r"metric speed is not known"),
    ({"primary": "loss_ratio"}, r"primary of scenario tcp is 'loss_ratio', which only UDP produces"),
    ({"protocol": "udp", "rate": "1%", "primary": "rtt_seconds"}, r"'rtt_seconds', which only TCP produces"),
    ({"primary": "reverse_throughput_bits_per_second"}, r"which only bidirectional traffic produces"),
    ({"primary": "ingress_node_cpu_cores"}, r"which only a path through a service produces"),
    ({"watch": "sometimes"}, r"watch of scenario tcp is 'sometimes'; it must be true or false"),
]


@pytest.mark.parametrize(("keys", "sentence"), BAD)
def test_bad_matrices(keys: dict[str, Any], sentence: str) -> None:
    with pytest.raises(NetbenchError, match=sentence) as caught:
        parse({"scenarios": [TCP], **keys}, CLUSTERS, EXTERNALS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("keys", "sentence"), BAD_SCENARIOS)
def test_bad_scenarios(keys: dict[str, Any], sentence: str) -> None:
    with pytest.raises(NetbenchError, match=sentence):
        parse({"scenarios": [{**TCP, **keys}]}, CLUSTERS, EXTERNALS)


def test_a_rate_beyond_a_terabit_without_a_line_rate() -> None:
    clusters, externals = topology("a", line_rate=None)
    with pytest.raises(NetbenchError, match="rate of scenario tcp is '2T'; it must be 1 kbit/s to 1 Tbit/s"):
        parse({"scenarios": [{**TCP, "rate": "2T"}]}, clusters, externals)


def test_no_clusters() -> None:
    with pytest.raises(NetbenchError, match="netbench_clusters is empty"):
        parse({"scenarios": [TCP]}, {}, {})


def test_the_flow_share_probe_needs_an_external_endpoint() -> None:
    with pytest.raises(NetbenchError, match="flow_share needs an endpoint with netbench_role external"):
        parse({"scenarios": [TCP], "evidence": {"flow_share": {"flows": 200}}}, CLUSTERS, {})
