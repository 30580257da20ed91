"""The exact distribution of final texts against samples of the real sampler, under decoders that warp logits."""

import numpy as np
import pytest
from scipy.stats import chisquare
from small_studies import small_study

from harness.execution import execute
from harness.expansion import plan
from harness.progress import Reporter
from harness.trial_log import Log
from metrics.exact import final_text_distribution
from tasks.language import LanguageTask
from trainers.decoding import Decoder

TASK = {"symbols": 3, "states": 3, "max_length": 2}
SAMPLES = 4000


@pytest.fixture(scope="module", params=["mle", "behavioral_cloning"])
def policy(request):
    task = {"language": {**TASK, "train": 500, "validation": 5, "test": 5}}
    study = small_study(tasks=task, trainers={"one": {"use": request.param}}, budget={"steps": 20})
    trial = plan(study).trials[0]
    return execute(trial, Reporter(trial.label, lambda _: None), Log()).policy


@pytest.mark.parametrize(
    "decoder",
    [
        Decoder(),
        Decoder(temperature=0.5),
        Decoder(temperature=2.0, min_p=0.3),
        Decoder(top_k=2),
        Decoder(top_p=0.7),
        Decoder(backspace_bias=4.0),
    ],
    ids=lambda decoder: str(decoder).replace(" ", ""),
)
def test_samples_follow_the_exact_distribution(policy, decoder):
    language = LanguageTask(**TASK).language
    exact = final_text_distribution(policy, language, decoder=decoder, max_new_tokens=4, max_actions=9)
    drawn = policy.generate([""] * SAMPLES, decoder, 0, 4, 9, batch_size=500)
    index = {language.text(string): place for place, string in enumerate(language.strings)}
    places = [
        index.get(text, len(index)) if finish == "eos" else len(index)
        for text, finish in zip(drawn["completion"], drawn["finish"], strict=True)
    ]
    observed = np.bincount(places, minlength=len(exact))
    assert observed[exact == 0].sum() == 0
    # Rare outcomes together: the chi-square approximation wants several expected in each.
    rare = exact * SAMPLES < 10
    seen, expected = (np.append(x[~rare], x[rare].sum()) for x in (observed, exact * SAMPLES))
    possible = expected > 0
    assert chisquare(seen[possible], expected[possible] * seen.sum() / expected.sum()).pvalue > 1e-4
