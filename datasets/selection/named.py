"""A selection under a name: what runs and plans know it by, whatever corpus it is applied to."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass

from ..corpus.corpus import Corpus
from .reading import step_mapping
from .selection import Place, Selection, in_corpus, select, selected_digest
from .step import Step

__all__ = ["NamedSelection"]

_LONGEST_SLUG = 40


@dataclass(frozen=True)
class NamedSelection:
    """Steps under their kind, applied to domains of text on top of the steps that the corpus states itself.

    `kind` is the level of the column `selection`; `stated_at` says where each step stands; `domains` are those that are
    selected, None for all. Paths in the settings of steps start from the folder of the corpora file.
    """

    kind: str
    steps: tuple[Step, ...]
    stated_at: Place
    domains: frozenset[str] | None = None

    @property
    def key(self) -> str:
        """The name under which a token store holds it: its kind, and eight digits that change with kind and settings.

        >>> from foretrain.datasets.selection.registry import steps
        >>> exact = steps()["dedup"](kind="exact")
        >>> NamedSelection("no copies", (exact,), lambda number, step: "").key[:-8]
        'no-copies-'
        """
        settings = json.dumps([self.kind, *map(step_mapping, self.steps)], sort_keys=True)
        slug = re.sub(r"[^A-Za-z0-9_+]+", "-", self.kind)[:_LONGEST_SLUG]
        return f"{slug}-{hashlib.sha256(settings.encode()).hexdigest()[:8]}"

    def applies_to(self, corpus: Corpus, domain_name: str) -> bool:
        """Whether a domain is selected: it is one of `domains`, and text."""
        named = self.domains is None or domain_name in self.domains
        return named and corpus.domains[domain_name].synthetic is None

    def digest(self, corpus: Corpus, domain_name: str, source: str | None = None) -> str:
        """As `selected_digest`, for the domain's own steps and these; `source` is the digest of its text, if known."""
        steps, place = self._steps(corpus, domain_name), self.place_in(corpus, domain_name)
        return selected_digest(corpus, domain_name, steps, place, source)

    def select(self, corpus: Corpus, domain_name: str) -> Selection:
        """Run the domain's own steps and these. Errors as `select`."""
        steps, place = self._steps(corpus, domain_name), self.place_in(corpus, domain_name)
        return select(corpus, domain_name, steps, place=place)

    def place_in(self, corpus: Corpus, domain_name: str) -> Place:
        """Where each of the domain's own steps and of these stands."""
        own = len(corpus.domains[domain_name].select)

        def place(number: int, step: Step) -> str:
            if number < own:
                return in_corpus(corpus, domain_name)(number, step)
            return f"{self.stated_at(number - own, step)}: domain {domain_name}"

        return place

    def _steps(self, corpus: Corpus, domain_name: str) -> tuple[Step, ...]:
        return (*corpus.domains[domain_name].select, *self.steps)
