# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Binding a node's packet processing to its CPUs through receive packet steering.

The kernel lets real root alone write `rps_cpus` (Documentation/networking/scaling.rst). The ports of the fabric are
left unbound: what a packet costs there is done on the CPU of the node that sent it.
"""

from __future__ import annotations

import os

DEVICES = "/sys/class/net"


def cpu_mask(cpus: tuple[int, ...]) -> str:
    """The CPUs as the kernel's bitmap text: hexadecimal words of 32 bits, comma separated, highest first."""
    value = sum(1 << cpu for cpu in set(cpus))
    words = [f"{value & 0xFFFFFFFF:08x}"]
    while value := value >> 32:
        words.insert(0, f"{value & 0xFFFFFFFF:08x}")
    return ",".join(words)


def receive_queues() -> list[str]:
    """The `rps_cpus` files of all devices of the namespace whose sysfs is mounted on /sys, loopback left out."""
    files = []
    for device in sorted(os.listdir(DEVICES)):
        queues = f"{DEVICES}/{device}/queues"
        if device != "lo" and os.path.isdir(queues):
            files += [f"{queues}/{queue}/rps_cpus" for queue in sorted(os.listdir(queues)) if queue.startswith("rx-")]
    return files


def bind_receive_queues(cpus: tuple[int, ...]) -> str:
    """Let `cpus` alone process what this namespace's devices receive; "" or why that is not possible."""
    mask = cpu_mask(cpus)
    try:
        for path in receive_queues():
            with open(path, "w", encoding="ascii") as file:
                file.write(mask)
    except OSError as error:
        return f"rps_cpus cannot be written without real root: {error.strerror}"
    return ""
