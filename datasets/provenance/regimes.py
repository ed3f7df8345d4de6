"""Regimes: what the corpus of a generation of models is made of.

A generation is a model that is trained, then writes text that the next one is trained on. Generation 1 is trained on
text of models that saw real text alone. Regimes are as in Gerstgrasser et al. (arXiv:2404.01413) and Kazdan et al.
(arXiv:2410.16713).
"""

from __future__ import annotations

from typing import Literal

__all__ = ["HUMAN", "REAL", "Regime"]

HUMAN = "none"
"""The level of the column `generator` that stands for text without a synthetic part."""

REAL = "real"
"""The level of the column `regime` that stands for text without a synthetic part."""

Regime = Literal["replace", "accumulate", "accumulate_fixed", "subsample", "fresh"]
"""What a generation is trained on.

- `replace`: text of the generation before, and real text for the rest;
- `accumulate`: real text and that of all generations before, each as much; training grows with it;
- `accumulate_fixed`: the same corpus, trained on with as many tokens as the first generation was;
- `subsample`: as many tokens drawn from that corpus as the real text had;
- `fresh`: new real text each time, which is the control.
"""
