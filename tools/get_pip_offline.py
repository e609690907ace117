# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands in for the get-pip script that ansible-test would download: installs pip from the wheel beside it."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

# The name is ansible-test's: get_pip_24_2.py bootstraps pip 24.2.
version = Path(__file__).stem.removeprefix("get_pip_").replace("_", ".")
wheel = next(Path(__file__).parent.glob(f"pip-{version}-*.whl"))
options_of_get_pip = {"--no-setuptools", "--no-wheel"}

sys.path.insert(0, str(wheel))
sys.argv[1:] = ["install", *(argument for argument in sys.argv[1:] if argument not in options_of_get_pip)]
runpy.run_module("pip", run_name="__main__")
