# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The line rate of a node: a token bucket that all of its NICs share, one for each direction or one for both.

Every packet that a NIC sends or receives is redirected to an intermediate device (ifb) with a token bucket and comes
back from there. A bucket per NIC would give a node with two NICs twice the rate of a node with one; a virtual
machine's bandwidth belongs to the machine.
"""

from __future__ import annotations

from ansible_collections.netbench.cni.plugins.module_utils.lab.plan import Link

SHARED = "line"
OUT, IN = "line-out", "line-in"
# The kernel of a small VM may have no matchall, u32 or flower classifier: a classic BPF program that accepts all does.
ACCEPT_ALL = "bpf bytecode '1,6 0 0 4294967295,'"


def line_devices(shared: bool) -> tuple[str, str]:
    """The devices for what goes out and what comes in."""
    return (SHARED, SHARED) if shared else (OUT, IN)


def rate_command(device: str, rate: int, burst: int, queue_seconds: float) -> str:
    """One line for tc: set a device's token bucket; bits per second, bytes, seconds. Also changes one that is there."""
    limit = round(rate / 8 * queue_seconds) + burst
    return f"qdisc replace dev {device} root handle 1: tbf rate {rate}bit burst {burst} limit {limit}"


def line_commands(
    nics: list[str], rate: int, shared: bool, burst: int, queue_seconds: float
) -> tuple[list[Link], list[str]]:
    """The intermediate devices and tc's lines that put `nics` behind a line of `rate` bits per second.

    HTB without classes stands at a NIC's root because a filter needs a classful queueing discipline; packets that come
    back from the intermediate device skip the filter and go straight through it.
    """
    out, back = line_devices(shared)
    devices = list(dict.fromkeys((out, back)))
    commands = [rate_command(device, rate, burst, queue_seconds) for device in devices]
    for nic in nics:
        to_out, to_back = (f"{ACCEPT_ALL} action mirred egress redirect dev {device}" for device in (out, back))
        commands += [
            f"qdisc replace dev {nic} root handle 1: htb",
            f"filter add dev {nic} parent 1: protocol all prio 1 {to_out}",
            f"qdisc add dev {nic} handle ffff: ingress",
            f"filter add dev {nic} parent ffff: protocol all prio 1 {to_back}",
        ]
    return [Link(device, "ifb", 65521) for device in devices], commands
