"""The long run, as described in the package."""

import argparse
import sys
from collections import Counter, defaultdict

from . import bad, good, inputs, interrupts


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--bad", type=int, default=0, help="bad inputs to try")
    parser.add_argument("--good", type=int, default=0, help="good inputs to try")
    parser.add_argument("--interrupts", type=int, default=0, help="1: at every line; k: every k-th")
    parser.add_argument("--scene", type=int, help="number of the only call to interrupt")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--seconds", type=float, default=20.0, help="a call may take")
    parser.add_argument("--verbose", action="store_true", help="print each input")
    options = parser.parse_args()
    bad.compile_loops()
    found = 0
    if options.bad:
        found += bad_inputs(options)
    if options.good:
        found += good_inputs(options)
    if options.interrupts:
        found += interrupted_calls(options)
    print(f"{found} violations in all")
    return found > 0


class Violations:
    """Violations by kind, with the command that reproduces each."""

    def __init__(self):
        self.count = 0
        self._by_kind = defaultdict(list)

    def add(self, kind, what, command, details):
        self.count += 1
        self._by_kind[kind, what].append((command, details))

    def report(self):
        for (kind, what), cases in sorted(self._by_kind.items()):
            print(f"\n{kind}: {what}: {len(cases)}")
            for command, details in cases:
                print(f"    {command}\n        {details}")


def bad_inputs(options):
    """Try bad inputs, print their outcomes, and return the number of violations."""
    results, accepted, shared = Counter(), Counter(), Counter()
    violations = Violations()
    for number in range(options.first, options.first + options.bad):
        call = inputs.bad_call(inputs.chooser(options.seed, number))
        if options.verbose:
            print(number, call, flush=True)
        outcome = bad.check(call, options.seconds)
        results[outcome.result] += 1
        if outcome.result == "accepted":
            accepted.update(f"{name}={value}" for name, value in call.wrong.items())
        if outcome.shared:
            shared[outcome.shared.partition(":")[2][:90]] += 1
        command = f"python -m tests.fuzz --bad 1 --seed {options.seed} --first {number} --verbose"
        for kind, details in outcome.violations:
            what = f"{call.estimator.__name__}.{call.method}, {' and '.join(call.wrong)}"
            violations.add(kind, what, command, f"{details}\n        {call}")
    violations.report()
    print(f"\n{options.bad} bad inputs: {violations.count} violations")
    for result, count in results.most_common():
        print(f"    {count:6d} {result}")
    print(f"    {sum(shared.values()):6d} messages of NumPy within scikit-learn")
    if options.verbose:
        for what, counts in (("accepted", accepted), ("within scikit-learn", shared)):
            for value, count in counts.most_common():
                print(f"    {what}: {count:4d} {value}")
    return violations.count


def good_inputs(options):
    """Try good networks and as many scalers, and return the number of violations."""
    violations = Violations()
    for number in range(options.first, options.first + options.good):
        choose = inputs.chooser(options.seed, number)
        for make, check in (
            (good.good_network, good.check_network),
            (good.good_scaler, good.check_scaler),
        ):
            case = make(choose)
            if options.verbose:
                print(number, case, flush=True)
            command = f"python -m tests.fuzz --good 1 --seed {options.seed} --first {number}"
            for kind, details in check(case, options.seconds):
                violations.add(kind, type(case).__name__, command, f"{details}\n        {case}")
    violations.report()
    print(f"\n{options.good} networks and as many scalers: {violations.count} violations")
    return violations.count


def interrupted_calls(options):
    """Interrupt calls at lines of skcnn, and return the number of violations."""
    violations, blas, n_lines = Violations(), interrupts.BlasThreads(), 0
    for number, scene in enumerate(interrupts.scenes()):
        if options.scene not in (None, number):
            continue
        first = options.first or 1 + number % options.interrupts
        last = options.first or len(scene.states[-1])
        if options.verbose:
            print(f"{number} {scene}: {len(scene.states[-1])} lines", flush=True)
        for at in range(first, last + 1, options.interrupts):
            n_lines += 1
            where, found = interrupts.check(scene, at, blas, options.seconds)
            command = f"python -m tests.fuzz --interrupts 1 --scene {number} --first {at}"
            for kind, details in found:
                violations.add(f"interrupt, {kind}", where, command, f"{details}\n        {scene}")
    violations.report()
    print(f"\n{n_lines} interrupts: {violations.count} violations")
    return violations.count


if __name__ == "__main__":
    sys.exit(main())
