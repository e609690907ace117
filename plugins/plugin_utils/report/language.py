# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report's words: every text a reader sees comes from texts/<language>.yml, which have the same keys."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.netbench.cni.plugins.plugin_utils.model import NetbenchError

LANGUAGES = ("en", "zh")
_DIRECTORY = Path(__file__).parent / "texts"


@cache
def load(language: str) -> dict[str, str]:
    """The texts of a language, flat: key → format string.

    Raises NetbenchError when there is no such language.
    """
    if language not in LANGUAGES:
        raise NetbenchError(f"language is {language!r}; it must be one of {', '.join(LANGUAGES)}.")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    content: dict[str, Any] = yaml.load((_DIRECTORY / f"{language}.yml").read_text(encoding="utf-8"), Loader=loader)
    return {f"{group}.{name}": text for group, texts in content.items() for name, text in texts.items()}


class Texts:
    """texts("group.name", value=…) is that text with its places filled."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._texts = load(language)

    def __call__(self, key: str, **values: object) -> str:
        return self._texts[key].format(**values)

    def known(self, key: str, fallback: str, **values: object) -> str:
        """The text of `key` if there is one, else `fallback` as it is."""
        return self(key, **values) if key in self._texts else fallback
