"""Sparse probabilistic deterministic finite automata."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Edge:
    """A symbol that a state may write, the state it leads to, and its probability."""

    symbol: int
    target: int
    probability: float


@dataclass(frozen=True)
class Automaton:
    """Writes strings: at each state it stops, or writes a symbol and goes on (Vidal et al. 2005).

    A symbol leads from a state to one state only, so every string has one path, and its probability is
    the product of the probabilities along it. State 0 is the start.

    Attributes:
        edges: per state, its edges in the order of their symbols.
        stops: per state, the probability to stop there.
    """

    edges: tuple[tuple[Edge, ...], ...]
    stops: tuple[float, ...]

    @classmethod
    def random(cls, symbols: int, states: int, branching: int, rng: np.random.Generator) -> Automaton:
        """Draw an automaton.

        Each state gets ``branching`` different symbols, each leading to a state drawn uniformly. The
        probabilities, that of stopping included, are uniform on the simplex (Dirichlet with all
        parameters 1). The start is never entered again and does not stop: no string is empty.

        Args:
            symbols: size of the alphabet.
            states: number of states, at least 2.
            branching: symbols per state, at most ``symbols``.
            rng: source of the draw.
        """
        edges, stops = [], []
        for state in range(states):
            shares = rng.dirichlet(np.ones(branching + (state > 0)))
            written = np.sort(rng.choice(symbols, size=branching, replace=False))
            targets = rng.integers(1, states, size=branching)
            # zip leaves out the last share of a state that may stop: it is the one of stopping.
            edges.append(
                tuple(Edge(int(s), int(t), float(p)) for s, t, p in zip(written, targets, shares, strict=False))
            )
            stops.append(float(shares[-1]) if state > 0 else 0.0)
        return cls(tuple(edges), tuple(stops))

    def count(self, max_length: int) -> int:
        """Number of strings of at most ``max_length`` symbols, without listing them."""
        strings = 0
        paths = Counter({0: 1})
        for length in range(max_length + 1):
            strings += sum(n for state, n in paths.items() if self.stops[state] > 0)
            if length < max_length:
                step: Counter[int] = Counter()
                for state, n in paths.items():
                    for edge in self.edges[state]:
                        step[edge.target] += n
                paths = step
        return strings

    def symbols(self, max_length: int) -> set[int]:
        """Symbols that occur in paths of at most ``max_length`` symbols from the start."""
        found: set[int] = set()
        states = {0}
        for _ in range(max_length):
            edges = [edge for state in states for edge in self.edges[state]]
            found.update(edge.symbol for edge in edges)
            states = {edge.target for edge in edges}
        return found

    def strings(self, max_length: int) -> Iterator[tuple[tuple[int, ...], float]]:
        """Yield the strings of at most ``max_length`` symbols with their probabilities, the shortest first.

        Strings of one length come in the order of their symbols.
        """
        level: list[tuple[tuple[int, ...], int, float]] = [((), 0, 1.0)]
        for _ in range(max_length + 1):
            yield from (
                (string, probability * self.stops[state])
                for string, state, probability in level
                if self.stops[state] > 0
            )
            level = [
                ((*string, edge.symbol), edge.target, probability * edge.probability)
                for string, state, probability in level
                for edge in self.edges[state]
            ]
