"""Random attacks on the public methods.

``pytest`` runs a short part of them, always the same. The long run is a command of its own::

    python -m tests.fuzz --bad 10000 --good 3000 --interrupts 1

It prints what was tried, what came of it, and each violation with the command that repeats it. It
ends with exit code 0 only where there are no violations. ``--seed`` draws other inputs, and
``--interrupts 7`` interrupts at every seventh line only.

inputs
    What the methods are called with, meaningful or not. Each input is a piece of Python source,
    so that a report can be pasted into a session.
deep
    Deep copies that can be compared: the state of an estimator, bit for bit.
bad
    One call with one or two wrong arguments: does it fail as it should, and leave all unchanged?
good
    One network or scaler that must work: kernels, layouts, dtypes and repetitions must agree.
interrupts
    Ctrl-C at any line: is the estimator the old one, or the new one?
"""
