"""Numbers follow from the generations, the context and the settings, and measuring leaves no trace."""

from __future__ import annotations

import json
import os
import pickle
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch

from harness.testing.battery import Tier, require, skip
from harness.testing.metric.battery import METRIC
from harness.testing.metric.subject import MetricSubject, differences, standard_error
from harness.testing.processes import call_in_a_process
from harness.testing.random_states import seed_all, states, touched
from harness.testing.subjects import metric_of
from harness.validation import plain
from metrics.base import Estimate


@METRIC.check()
def equal_seeds_give_equal_numbers(subject: MetricSubject) -> None:
    """Two instances report the same of the same, bit by bit, and so does one that is asked twice."""
    metric = subject.metric()
    first = subject.compute(metric=metric)
    for whose, again in (("the second time", subject.compute(metric=metric)), ("another instance", subject.compute())):
        changed = differences(first, again, tolerance=0)
        require(not changed, f"{whose} it reports {changed}: draw from np.random.default_rng(context.seed)")


@METRIC.check()
def the_global_random_state_has_no_influence(subject: MetricSubject) -> None:
    """Numbers do not depend on the state of random, numpy.random or torch."""
    found = []
    for seed in (0, 1):
        seed_all(seed)
        found.append(subject.compute())
    changed = differences(found[0], found[1], tolerance=0)
    require(
        not changed,
        f"after other calls of random.seed, numpy.random.seed and torch.manual_seed it reports {changed}: draw from "
        "np.random.default_rng(context.seed)",
    )


@METRIC.check()
def the_global_random_state_is_left_alone(subject: MetricSubject) -> None:
    """Measuring neither draws from random, numpy.random or torch nor seeds them."""
    metric, table, context = subject.metric(), subject.generations(), subject.context()
    before = states()
    metric.compute(table, context)
    used = touched(before)
    require(not used, f"measuring changes the state of {', '.join(used)}: use a generator of its own")


@METRIC.check()
def generations_and_context_are_left_alone(subject: MetricSubject) -> None:
    """The table, the lists in it, and the examples of the context are afterwards what they were."""
    table, context = subject.generations(), subject.context()
    held = {name: getattr(context, name) for name in ("prompts", "completions", "finished", "real", "error_tokens")}
    rows, before = pickle.dumps(table.to_dict()), pickle.dumps(held)
    subject.compute(table, context)
    require(
        pickle.dumps(table.to_dict()) == rows,
        "the table of generations is changed, and the next metric would read another one: work on a copy",
    )
    require(pickle.dumps(held) == before, "the examples of the context are changed: work on a copy")


@METRIC.check()
def the_policy_is_left_alone(subject: MetricSubject) -> None:
    """Weights, gradients and modes of the policy are afterwards what they were."""
    context = subject.context()
    policy: Any = context.policy
    model = policy.model
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    wanted = [parameter.requires_grad for parameter in model.parameters()]
    subject.compute(context=context)
    changed = [name for name, tensor in model.state_dict().items() if not torch.equal(tensor, weights[name])]
    require(not changed, f"weights of the policy are changed: {', '.join(changed[:3])}")
    require(
        not any(module.training for module in model.modules()),
        "the policy is left in training mode: call eval() where train() was called",
    )
    require(
        [parameter.requires_grad for parameter in model.parameters()] == wanted,
        "requires_grad of the policy's weights is changed: use torch.no_grad() instead",
    )
    require(
        all(parameter.grad is None for parameter in model.parameters()),
        "the policy's weights have gradients afterwards: measure under torch.no_grad(), or clear them",
    )


@METRIC.check()
def the_working_directory_does_not_matter(subject: MetricSubject) -> None:
    """From another working directory the numbers are the same, and nothing is written into it."""
    settings = plain(subject.metric()).values()
    if any(isinstance(each, str) and each and not os.path.isabs(each) and os.path.exists(each) for each in settings):
        skip("a setting is a path relative to the working directory")
    expected, here = subject.ordinary, os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            found = subject.compute()
            files = sorted(os.listdir(folder))
        finally:
            os.chdir(here)
    changed = differences(expected, found)
    require(not changed, f"from another working directory it reports {changed}: use absolute paths")
    require(not files, f"it writes {', '.join(files)} into the working directory: keep files in context.cache")


@METRIC.check(Tier.FULL)
def another_process_gives_equal_numbers(subject: MetricSubject) -> None:
    """Another Python process, with other hashes of strings, reports the same, up to rounding."""
    settings = json.dumps(dict(subject.plugin.settings))
    seed = 1 + (os.environ.get("PYTHONHASHSEED") == "1")
    torch.set_num_threads(1)
    there = call_in_a_process(__name__, "numbers", subject.plugin.address, settings, hash_seed=seed)
    changed = differences(subject.compute(), {name: Estimate(*parts) for name, parts in there.items()})
    require(
        not changed,
        f"in another process, whose PYTHONHASHSEED is {seed}, it reports {changed}: do not iterate over sets of "
        "strings, and derive no seed from hash()",
    )


@METRIC.check(Tier.FULL)
def no_network_is_used(subject: MetricSubject) -> None:
    """Measuring opens no connection."""
    settings = json.dumps(dict(subject.plugin.settings))
    tried = call_in_a_process(__name__, "connections", subject.plugin.address, settings, hash_seed=1)
    require(
        not tried,
        f"it connects to {', '.join(dict.fromkeys(tried))}: results would depend on what is there; name models and "
        "data by folder, and fetch them beforehand",
    )


def numbers(address: str, settings: str) -> dict[str, tuple[float, float]]:
    """What a metric reports of the ordinary generations, sample errors too, for another process to compare."""
    torch.set_num_threads(1)
    found = MetricSubject(metric_of(address, json.loads(settings))).compute()
    return {name: (float(number), standard_error(number)) for name, number in found.items()}


def connections(address: str, settings: str) -> list[str]:
    """The hosts that a metric asks for in a process of its own: here it may have in memory what it fetched before."""
    subject = MetricSubject(metric_of(address, json.loads(settings)))
    with _no_connections() as tried:
        try:
            subject.compute(context=subject.context(cache=None))
        except Exception:
            if not tried:
                raise
    return tried


@contextmanager
def _no_connections() -> Iterator[list[str]]:
    """Refuse connections to the internet; yields the hosts that were asked for."""
    tried = list[str]()
    connect = socket.socket.connect

    def refuse(host: object) -> OSError:
        tried.append(str(host))
        return OSError(f"no connections during this check: {host}")

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            raise refuse(address[0])
        connect(self, address)

    def unresolved(host: object, *_: object, **__: object) -> Any:
        raise refuse(host)

    with patch.object(socket.socket, "connect", guarded), patch.object(socket, "getaddrinfo", unresolved):
        yield tried
