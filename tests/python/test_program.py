"""What is read of a script's run: the events, the things, and where following ends."""

from __future__ import annotations

from source_files import source

from archcheck.python.program import Event, Run


def runs(text: str) -> tuple[Run, ...]:
    return source(text).runs


def events(text: str, *kinds: str) -> list[Event]:
    return [event for run in runs(text) for event in run.events if event.kind in kinds]


SCRIPT = """
class Learner:
    def __init__(self, model, **settings):
        self.tools = {"optimizer": torch.optim.SGD(model.parameters(), **settings)}

    def learn(self, loss):
        loss.backward()
        self.tools["optimizer"].step()

def fit(model, loader):
    learner = Learner(model, lr=0.1)
    for x, y in loader:
        learner.learn(F.mse_loss(model(x), y))

fit(nn.Linear(4, 1), [])
"""


def test_a_step_in_a_method_stands_in_the_loop_of_its_caller() -> None:
    (step,) = events(SCRIPT, "step")
    assert [region.kind for region in step.around] == ["call", "loop", "call"]


def test_an_optimizer_in_a_dict_is_the_one_that_was_built() -> None:
    *builds, step = events(SCRIPT, "build", "step")
    assert step.subject in [build.result for build in builds]
    assert [held.dotted for held in step.subject.modules] == ["torch.nn.Linear"]


def test_what_is_called_is_run_once_with_what_it_is_given() -> None:
    assert [run.start for run in runs(SCRIPT)] == [None]


def test_a_loss_without_a_graph_keeps_none() -> None:
    text = """
@torch.no_grad()
def score(model, x):
    return model(x)

def fit(model, loader):
    for x in loader:
        kept = score(model, x)
        model(x).mean().backward()
"""
    graphs = {event.around[-1].kind: event.result for event in events(text, "call")}
    assert graphs["no_grad"] is not None and not graphs["no_grad"].graph
    assert graphs["loop"] is not None and graphs["loop"].graph


def test_recursion_ends_and_is_not_looked_into() -> None:
    text = """
def left(model, optimizer):
    model(1).backward()
    right(model, optimizer)

def right(model, optimizer):
    optimizer.step()
    left(model, optimizer)
"""
    assert [event.kind for event in events(text, "opaque")] == ["opaque"]


def test_a_run_that_is_too_long_says_so() -> None:
    calls = "\n".join(f"def f{i}(o):\n    f{i + 1}(o)\n    f{i + 1}(o)" for i in range(11))
    text = f"{calls}\ndef f11(o):\n    " + "o.step()\n    " * 200 + "o.backward()\nf0(None)\n"
    found = runs(text)
    assert not found[0].complete
    assert sum(len(run.events) for run in found) < 20000


def test_a_file_of_a_thousand_functions_is_read_within_bounds() -> None:
    body = "    loss.backward()\n" + "    optimizer.step()\n" * 18
    found = runs("".join(f"def f{i}(loss, optimizer):\n{body}" for i in range(1000)))
    assert 0 < len(found) < 1000
