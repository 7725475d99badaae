"""Random calls of the public methods.

``pytest`` runs a short part of them, always the same. The long run is a command of its own::

    python -m tests.fuzz --bad 10000 --good 3000 --interrupts 1

It prints the numbers of outcomes, and each violation with the command that reproduces it. Its exit
code is 0 only without violations. ``--seed`` draws other inputs, and ``--interrupts 7`` interrupts
only at every seventh line.

inputs
    Arguments of the methods, valid or not. Each is a piece of Python source, so that it can be
    copied from a report into a session.
deep
    Deep copies that can be compared: the state of an estimator, bit for bit.
bad
    One call with one or two wrong arguments: it must fail with a reason and change nothing.
good
    One network or scaler that must work: kernels, layouts, dtypes and repetitions must agree.
interrupts
    Ctrl-C at any line: the estimator must be in its old state or its new one.
"""
