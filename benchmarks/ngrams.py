"""N-gram statistics by sorting packed ids over the same with sets and Counters, side by side on the same texts.

Ratios are those of medians over interleaved repeats, so that both sides see the same machine. Both sides start from
lists of Python integers, as the sampler writes them, and must agree.
"""

from __future__ import annotations

import argparse
import gc
import math
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from metrics.diversity import ngram_statistics

Measure = Callable[[Sequence[Sequence[int]]], dict[str, float]]


def sets_and_counters(texts: Sequence[Sequence[int]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for order in (1, 2, 3, 4):
        grams = [list(zip(*(text[start:] for start in range(order)), strict=False)) for text in texts]
        corpus = Counter(gram for text in grams for gram in text)
        total, unique = corpus.total(), [len(set(text)) for text in grams]
        if order > 1:
            found[f"rep_{order}"] = 1 - sum(unique) / total
        found[f"distinct_{order}"] = len(corpus) / total
        found[f"entropy_{order}"] = sum(count / total * math.log(total / count) for count in corpus.values())
    repeated = [1 - distinct / len(text) for distinct, text in zip(unique, grams, strict=True)]
    found["seq_rep_4"] = statistics.fmean(repeated)
    found["diversity"] = math.prod(1 - found[f"rep_{order}"] for order in (2, 3, 4))
    return found


def corpus(texts: int, tokens: int, vocabulary: int) -> list[list[int]]:
    """Texts whose ids are about as unequally frequent as words are (Zipf), a fifth of them repeat their first half."""
    rng = np.random.default_rng(0)
    frequency = 1 / np.arange(1, vocabulary + 1)
    ids = rng.permutation(vocabulary)[rng.choice(vocabulary, (texts, tokens), p=frequency / frequency.sum())]
    ids[::5, tokens // 2 :] = ids[::5, : tokens - tokens // 2]
    return [row.tolist() for row in ids]


def seconds(measure: Measure, texts: list[list[int]]) -> tuple[float, dict[str, float]]:
    gc.collect()
    started = time.perf_counter()
    found = measure(texts)
    return time.perf_counter() - started, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--vocabularies", type=int, nargs="+", default=[1000, 50257, 65536, 65537, 128256, 262144])
    options = parser.parse_args()
    print(f"{options.texts} texts of {options.tokens} tokens, medians of {options.repeats} interleaved repeats")
    print("vocabulary  largest id  sets, s  sorted, s  ratio")
    for vocabulary in options.vocabularies:
        texts = corpus(options.texts, options.tokens, vocabulary)
        times: dict[str, list[float]] = {"sets": [], "sorted": []}
        for _ in range(options.repeats):
            slow, wanted = seconds(sets_and_counters, texts)
            fast, found = seconds(ngram_statistics, texts)
            times["sets"].append(slow)
            times["sorted"].append(fast)
            for name, value in wanted.items():
                assert math.isclose(found[name], value, rel_tol=1e-9, abs_tol=1e-12), (name, found[name], value)
        before, after = (statistics.median(times[side]) for side in ("sets", "sorted"))
        largest = max(map(max, texts))
        print(f"{vocabulary:10d}  {largest:10d}  {before:7.3f}  {after:9.3f}  {before / after:4.1f}x")


if __name__ == "__main__":
    main()
