# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every test may rely on."""

from __future__ import annotations

import signal

# A job that a shell starts in the background ignores SIGINT, and so would every program that the tests start and stop.
signal.signal(signal.SIGINT, signal.default_int_handler)
