"""The run of a training script, read from its source.

In: the functions, classes and statements of a file, and what they call in other files of the
project. Out: for each place where the code may start, the events of its run in order: who is built,
called, stepped, cleared, switched, in which loops and under which conditions.
Nothing here imports torch, a rule, or what one family of rules asks.
"""

from archcheck.python.program.events import Event, Region, Run
from archcheck.python.program.start import runs_of
from archcheck.python.program.things import Thing

__all__ = ["Event", "Region", "Run", "Thing", "runs_of"]
