import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import integrate, stats

from harness.errors import RequestError
from harness.gating import noninferiority
from harness.gating.margins import Margin, parse_margins, split_margins
from harness.gating.noninferiority import Verdict, decide, pass_probability, seeds_to_pass

EIGHTHS = st.integers(-80, 80).map(lambda n: n / 8)
PAIRS = st.lists(st.tuples(EIGHTHS, EIGHTHS), min_size=2, max_size=8)
AMOUNTS = st.integers(1, 400).map(lambda n: n / 64)


def split(pairs):
    return [new for new, _ in pairs], [old for _, old in pairs]


@given(PAIRS, AMOUNTS, st.booleans())
def test_verdicts_are_those_of_the_one_sided_paired_t_tests_of_scipy(pairs, amount, higher):
    new, old = map(np.array, split(pairs))
    differences = new - old if higher else old - new
    assume(np.ptp(differences) > 0)
    better = stats.ttest_1samp(differences, -amount, alternative="greater").pvalue
    worse = stats.ttest_1samp(differences, -amount, alternative="less").pvalue
    assume(min(abs(better - 0.05), abs(worse - 0.05)) > 1e-9)
    expected = Verdict.OK if better < 0.05 else Verdict.REGRESSED if worse < 0.05 else Verdict.INCONCLUSIVE
    assert decide(new, old, higher, Margin(amount)).verdict is expected


@given(PAIRS, AMOUNTS)
def test_a_relative_margin_is_a_test_of_scaled_values(pairs, share):
    """d + r b = c - (1 - r) b where higher is better, and (1 + r) b - c where lower is, for a positive baseline."""
    new, old = map(np.array, split(pairs))
    old = abs(old) + 1
    slack = new - (1 - share) * old
    assume(np.ptp(slack) > 1e-6)
    p = stats.ttest_1samp(slack, 0, alternative="greater").pvalue
    assume(abs(p - 0.05) > 1e-9)
    assert (decide(new, old, True, Margin(share, relative=True)).verdict is Verdict.OK) == (p < 0.05)
    # numbers below zero, lower is better: the mirror image
    assert decide(-new, -old, False, Margin(share, relative=True)) == decide(new, old, True, Margin(share, True))


@given(PAIRS, AMOUNTS)
def test_a_wider_margin_never_condemns_and_a_narrower_never_clears(pairs, amount):
    order = [Verdict.REGRESSED, Verdict.INCONCLUSIVE, Verdict.OK]
    narrow, wide = (decide(*split(pairs), True, Margin(factor * amount)) for factor in (1, 2))
    assert order.index(narrow.verdict) <= order.index(wide.verdict)


@given(PAIRS, AMOUNTS, st.sampled_from([0.25, 4.0, 1024.0]), st.permutations(range(8)))
def test_the_unit_and_the_order_of_seeds_do_not_matter(pairs, amount, unit, order):
    plain = decide(*split(pairs), True, Margin(amount))
    mixed = [pairs[index] for index in order if index < len(pairs)]
    new, old = split([(unit * a, unit * b) for a, b in mixed])
    scaled = decide(new, old, True, Margin(unit * amount))
    assert scaled.verdict is plain.verdict
    assert (scaled.effect, scaled.low, scaled.high) == pytest.approx(
        tuple(unit * value for value in (plain.effect, plain.low, plain.high)), abs=1e-9 * unit, nan_ok=True
    )
    assert scaled.seeds_needed == plain.seeds_needed


def test_the_effect_is_positive_where_the_candidate_is_better():
    assert decide([0.6, 0.8], [0.5, 0.7], True, Margin(1)).effect == pytest.approx(0.1)
    assert decide([0.6, 0.8], [0.5, 0.7], False, Margin(1)).effect == pytest.approx(-0.1)


def test_equal_bits_pass_however_small_the_margin_and_one_pair_never_does():
    same = [0.1, 0.2, 0.7]
    assert decide(same, same, True, Margin(1e-12)).verdict is Verdict.OK
    assert decide(same, same, True, Margin(0.05, relative=True)).verdict is Verdict.OK
    for value in (0.5, 0.9):
        single = decide([value], [0.5], True, Margin(0.1))
        assert (single.verdict, single.reason) == (Verdict.INCONCLUSIVE, "one pair of seeds has no interval")
    assert decide([], [], True, Margin(0.1)).reason == "no seed has a value on both sides"


def test_rounding_decides_nothing_where_the_loss_is_the_margin():
    """0.5 - 0.52 is below -0.02 in floating point, by 2e-17, 0.1 - 0.12 is above it, and the spread is zero."""
    assert decide([0.5, 0.5], [0.52, 0.52], True, Margin(0.02)).verdict is Verdict.INCONCLUSIVE
    assert decide([0.1, 0.1], [0.12, 0.12], True, Margin(0.02)).verdict is Verdict.INCONCLUSIVE
    assert decide([0.5, 0.5], [0.52, 0.52], True, Margin(0.0201)).verdict is Verdict.OK
    assert decide([0.5, 0.5], [0.52, 0.52], True, Margin(0.0199)).verdict is Verdict.REGRESSED


def test_a_share_of_nothing_is_no_margin_and_huge_values_have_no_interval():
    nothing = decide([0.1, -0.1], [1.0, -1.0], True, Margin(0.05, relative=True))
    assert nothing.verdict is Verdict.INCONCLUSIVE
    assert "give an absolute margin" in nothing.reason
    huge = decide([1.7e308, -1.7e308], [-1.7e308, 1.7e308], True, Margin(1.0))
    assert (huge.verdict, huge.reason) == (Verdict.INCONCLUSIVE, "the values are too large for an interval")


REPETITIONS = 2500


def shares(rng, n, effect, spread, margin, baseline_spread, level=0.95):
    """How often each verdict comes for normal differences over matched seeds."""
    seen = []
    for _ in range(REPETITIONS):
        old = 2 + baseline_spread * rng.standard_normal(n)
        new = old + effect + spread * rng.standard_normal(n)
        seen.append(decide(new, old, True, margin, level).verdict)
    return {verdict: seen.count(verdict) / REPETITIONS for verdict in Verdict}


def within(share, expected):
    return abs(share - expected) < 3.5 * (expected * (1 - expected) / REPETITIONS) ** 0.5


@pytest.mark.parametrize(("n", "level"), [(3, 0.95), (6, 0.8)])
@pytest.mark.parametrize("margin", [Margin(0.1), Margin(0.05, relative=True)])
def test_on_the_margin_both_proofs_come_as_rarely_as_they_say(monkeypatch, margin, level, n):
    """Seeds differ by far more than pairs do, so that a relative margin is uncertain; 5 % of 2 is 0.1."""
    monkeypatch.setattr(noninferiority, "seeds_to_pass", lambda *_: None)
    found = shares(np.random.default_rng([n, 7]), n, -0.1, 0.005, margin, 0.3, level)
    assert within(found[Verdict.OK], 1 - level)
    assert within(found[Verdict.REGRESSED], 1 - level)


def test_a_candidate_without_a_difference_is_almost_never_called_worse(monkeypatch):
    monkeypatch.setattr(noninferiority, "seeds_to_pass", lambda *_: None)
    found = shares(np.random.default_rng(0), 6, 0.0, 0.1, Margin(0.1), 0.3)
    assert found[Verdict.REGRESSED] < 0.001


@pytest.mark.parametrize(("n", "effect"), [(4, 0.0), (6, -0.05), (12, -0.05)])
def test_power_is_that_of_the_noncentral_t(monkeypatch, n, effect):
    monkeypatch.setattr(noninferiority, "seeds_to_pass", lambda *_: None)
    expected = pass_probability(n, effect, 0.08, 0.1)
    assert 0.1 < expected < 0.95
    assert within(shares(np.random.default_rng(n), n, effect, 0.08, Margin(0.1), 0.3)[Verdict.OK], expected)


@pytest.mark.parametrize("n", [2, 4, 9])
@pytest.mark.parametrize("effect", [0.0, -0.05, -0.1, 0.2])
def test_power_is_the_integral_over_the_spread_that_is_seen(n, effect):
    """The mean is normal and independent of the sample variance, spread^2 chi^2 / (n - 1)."""
    bound, center = stats.t.ppf(0.95, n - 1), (effect + 0.1) / 0.08 * n**0.5

    def passes(root):
        return stats.norm.cdf(center - bound * root / (n - 1) ** 0.5) * stats.chi.pdf(root, n - 1)

    expected, _ = integrate.quad(passes, 0, 20, epsabs=1e-12)
    assert pass_probability(n, effect, 0.08, 0.1) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("spread", [0.01, 0.05, 0.1, 0.4, 3.0])
def test_the_seeds_asked_for_are_the_fewest_that_suffice(spread):
    n = seeds_to_pass(spread, 0.1)
    powers = [pass_probability(count, 0.0, spread, 0.1) for count in range(2, n + 1)]
    assert powers[-1] >= 0.8
    assert all(power < 0.8 for power in powers[:-1])


def test_seeds_beyond_reason_are_not_named():
    assert seeds_to_pass(1e6, 1e-6) is None
    assert seeds_to_pass(0.0, 0.1) == 2
    noisy = decide([1e3, -1e3, 5.0], [0.0, 0.0, 0.0], True, Margin(1e-3))
    assert "more than 10000 seeds" in noisy.reason


@pytest.mark.parametrize(
    ("value", "margin"),
    [
        (0.02, Margin(0.02)),
        ("0.02", Margin(0.02)),
        (" 5% ", Margin(0.05, True)),
        ("1e-3", Margin(0.001)),
        (1, Margin(1.0)),
    ],
)
def test_margins_are_numbers_or_shares(value, margin):
    assert parse_margins({"m": value}) == {"m": margin}
    assert parse_margins({"m": margin}) == {"m": margin}
    assert Margin.parse("m", str(margin)) == margin


@pytest.mark.parametrize("value", ["", "%", "big", "-0.1", "-5%", "nan", "inf", "inf%", None, True, "5%%", "5 % of it"])
def test_what_is_no_margin_is_said(value):
    with pytest.raises(
        RequestError, match=r"margin of 'accuracy': must be a number above 0, such as 0\.02, or a share"
    ):
        parse_margins({"accuracy": value})


def test_a_margin_of_zero_is_explained():
    with pytest.raises(RequestError, match="no finite number of seeds shows that two are equal"):
        parse_margins({"accuracy": "0%"})


def test_words_are_split_at_the_last_equals_sign():
    assert split_margins(["a=b=0.1", "c=5%"]) == {"a=b": "0.1", "c": "5%"}
    for word in ("accuracy", "=0.1"):
        with pytest.raises(RequestError, match=f"--margin {word}: must look like metric=0.02"):
            split_margins([word])
    with pytest.raises(RequestError, match="--margin a=2: 'a' has the margin 1 already"):
        split_margins(["a=1", "a=2"])
