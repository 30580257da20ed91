"""The quality of a model as a test."""

MARGINS = {"kl_forward": "10%", "perplexity": 0.05, "invalid_mass": 0.02}


def test_the_model_is_as_good_as_the_baseline(candidate, baseline, seqmatch_gate):
    seqmatch_gate(candidate, baseline, MARGINS)
