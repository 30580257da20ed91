"""A trainer copes with odd data, and says what is wrong where it cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.testing.battery import CheckError, require
from harness.testing.trainer.battery import TRAINER
from harness.testing.trainer.subject import MODEL, WORDS, Fitted, TrainerSubject
from trainers.base import TrainerError
from trainers.model_spec import FreshModel, ModelSpec

if TYPE_CHECKING:
    from datasets import Dataset

TEXTS = ("naïve café", "漢字かな", "🙂🙂", "tab\tnewline\n", "  spaces  ", "x" * 20)


def _table(prompts: list[str], completions: list[str], finished: list[bool] | None = None) -> Dataset:
    from datasets import Dataset

    columns = {"prompt": prompts, "completion": completions, "finished": finished or [True] * len(prompts)}
    return Dataset.from_dict(columns)


def _trains(subject: TrainerSubject, what: str, examples: Dataset, **fit: Any) -> Fitted:
    """Train on odd examples; whatever is raised, or no weight that is finite, fails the check."""
    try:
        fitted = subject.fit(examples=examples, **fit)
    except Exception as error:
        raise CheckError(f"training on {what} raised {type(error).__name__}: {error}") from error
    broken = [name for name, each in fitted.policy.model.named_parameters() if not each.isfinite().all()]
    require(not broken, f"after training on {what}, {len(broken)} weights are not finite")
    return fitted


@TRAINER.check()
def no_examples_are_refused(subject: TrainerSubject) -> None:
    """Without examples there is a TrainerError that says so."""
    subject.skip_unless_it_learns()
    try:
        subject.fit(examples=_table([], []))
    except TrainerError as error:
        require(str(error), "the TrainerError for no examples has no message: say that there are none")
    except Exception as error:
        raise CheckError(
            f"no examples raised {type(error).__name__}: {error}; raise trainers.base.TrainerError and say that there "
            "are none"
        ) from error
    else:
        raise CheckError("no examples were taken for a training: raise trainers.base.TrainerError")


@TRAINER.check()
def one_example_is_enough(subject: TrainerSubject) -> None:
    """One example is trained on, though a batch wants more."""
    _trains(subject, "one example in batches of 4", subject.examples(1))


@TRAINER.check()
def a_batch_may_be_larger_than_the_data(subject: TrainerSubject) -> None:
    """A batch of more examples than there are is trained on."""
    subject.skip_unless_it_learns()
    steps = _trains(subject, "3 examples in batches of 8", subject.examples(3), batch_size=8).meter.steps
    require(steps, "no step was taken on 3 examples in batches of 8: the last batch of an epoch must not be dropped")


@TRAINER.check()
def prompts_and_completions_may_be_empty(subject: TrainerSubject) -> None:
    """An example without a prompt, or without a completion, finished or cut, is no reason to stop."""
    examples = _table(["", "bad", "cab", "ace"], ["bad", "", "", "ace"], [True, True, False, True])
    _trains(subject, "empty prompts and completions", examples)


@TRAINER.check()
def any_text_is_trained_on(subject: TrainerSubject) -> None:
    """Text may hold any character: accents, other scripts, emoji, white space."""
    model = ModelSpec(fresh=FreshModel(**{**vars(MODEL), "alphabet": "bytes"}))
    _trains(TrainerSubject(subject.plugin, model), "text of all kinds", _table(list(WORDS[:6]), list(TEXTS)))


@TRAINER.check()
def special_tokens_in_text_are_survived(subject: TrainerSubject) -> None:
    """Text that spells a special token of the tokenizer is trained on, or refused by a TrainerError."""
    names = ["<pad>", "<s>", "</s>"]
    examples = _table(names, [f"bad{name}cab" for name in names])
    try:
        fitted = subject.fit(examples=examples)
    except TrainerError:
        return
    except Exception as error:
        raise CheckError(
            f"text with {', '.join(names)} raised {type(error).__name__}: {error}; train on it, or raise "
            "trainers.base.TrainerError and say which example it is"
        ) from error
    broken = [name for name, each in fitted.policy.model.named_parameters() if not each.isfinite().all()]
    require(not broken, f"after training on text with {', '.join(names)}, {len(broken)} weights are not finite")
