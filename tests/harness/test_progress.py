import io

from rich.console import Console

from harness.progress import Bars, Event, Lines, Reporter, display, quiet


def console(terminal: bool = False) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=100)


def events(phases: int = 3) -> list[Event]:
    steps = [Event("mle-text-s0", "phase", "training", step, 3) for step in range(1, phases + 1)]
    return [Event("mle-text-s0", "start"), *steps, Event("mle-text-s0", "end", "finished", seconds=2.5)]


def test_the_display_fits_the_console():
    assert isinstance(display(1, 0, console()), Lines)
    assert isinstance(display(1, 0, console(terminal=True)), Bars)


def test_elsewhere_than_on_a_terminal_a_line_starts_and_a_line_ends_each_trial():
    target = console()
    with Lines(target, 5, 2) as shown:
        for event in events():
            shown.show(event)
    assert target.file.getvalue().splitlines() == [
        "[2/5] mle-text-s0 started",
        "[3/5] mle-text-s0 finished in 2.5 s",
    ]


def test_in_between_there_is_a_line_per_interval(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("harness.progress.time.monotonic", lambda: now[0])
    target = console()
    shown = Lines(target, 1, 0, interval=15)
    shown.show(Event("x", "start"))
    for second in range(1, 40):
        now[0] = float(second)
        shown.show(Event("x", "phase", "training", second, 40))
    assert target.file.getvalue().splitlines() == [
        "[0/1] x started",
        "[0/1] x training 15/40",
        "[0/1] x training 30/40",
    ]


def test_a_failed_trial_says_why_on_one_line():
    target = console()
    Lines(target, 1, 0).show(Event("x", "end", "failed", seconds=1.0, problem="RuntimeError: [bold] " + "long " * 40))
    (line,) = target.file.getvalue().splitlines()
    assert line.startswith("[1/1] x failed in 1.0 s: RuntimeError: [bold] long long")


def test_on_a_terminal_there_is_a_bar_for_the_run_and_one_per_running_trial():
    target = console(terminal=True)
    with Bars(target, 5, 2) as shown:
        for event in events()[:-1]:
            shown.show(event)
        running = {task.description: (task.completed, task.total) for task in shown._progress.tasks}
        assert running == {"trials": (2, 5), "  mle-text-s0 training": (3, 3)}
        shown.show(events()[-1])
        assert {task.description: task.completed for task in shown._progress.tasks} == {"trials": 3}
    assert "mle-text-s0 finished in 2.5 s" in target.file.getvalue()


def test_a_reporter_sends_few_events_and_always_the_last(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("harness.progress.time.monotonic", lambda: now[0])
    sent: list[Event] = []
    reporter = Reporter("x", sent.append)
    reporter.start()
    reporter.phase("training", 950)
    for _ in range(950):
        now[0] += 0.001
        reporter.advance(1)
    reporter.end("finished", 1.0)
    assert [event.kind for event in sent[:2]] == ["start", "phase"]
    assert (sent[-2].done, sent[-2].total, sent[-1].kind) == (950, 950, "end")
    assert 5 <= len(sent) <= 10


def test_bars_of_other_libraries_are_off_inside_and_as_before_outside():
    import datasets
    from transformers.utils import logging

    def state():
        return logging.is_progress_bar_enabled(), not datasets.are_progress_bars_disabled()

    assert state() == (True, True)
    with quiet():
        assert state() == (False, False)
        with quiet():
            pass
        assert state() == (False, False)
    assert state() == (True, True)
