import multiprocessing
import sys
import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from skcnn._threads import threads


def blas_threads():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


@pytest.fixture(autouse=True)
def three_threads_in_blas():
    with threadpool_limits(3, user_api="blas"):
        yield


def test_blas_has_one_thread_meanwhile():
    with threads():
        assert blas_threads() == {1}
    assert blas_threads() == {3}


def test_blas_has_its_threads_back_after_a_failure():
    with pytest.raises(ZeroDivisionError), threads():
        1 / 0  # noqa: B018
    assert blas_threads() == {3}


def test_users_may_come_and_go_in_any_order():
    first, second = threads(), threads()
    first.__enter__()
    assert second.__enter__() is map
    first.__exit__(None, None, None)
    assert blas_threads() == {1}
    second.__exit__(None, None, None)
    assert blas_threads() == {3}


def interrupted_at_line(k, function):
    """Call a function, interrupted at the k-th line that is run in the module of threads."""
    left = k

    def trace(frame, event, arg):
        nonlocal left
        if frame.f_code.co_filename != threads.__wrapped__.__code__.co_filename:
            return None
        if event == "line":
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()  # that of a debugger, or of a measurement of coverage
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("fails", [False, True])
def test_blas_has_its_threads_back_after_an_interrupt_at_any_line(fails, n_threads):
    def compute():
        with threadpool_limits(n_threads, user_api="blas"), threads():
            if fails:
                raise ZeroDivisionError

    threads()  # what is imported and looked up once
    k = 0
    while True:
        k += 1
        try:
            interrupted_at_line(k, compute)
        except KeyboardInterrupt:
            assert blas_threads() == {3}, k
        except ZeroDivisionError:
            break
        else:
            break
    assert k > 20
    with threads() as map_in_threads:
        assert map_in_threads is not map  # no user is left over


def tell_threads(answers):
    before = blas_threads()
    with threads() as map_in_threads:
        answers.put((before, map_in_threads is not map))


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # that is what is tested
def test_a_fork_during_a_training_has_all_threads():
    fork = multiprocessing.get_context("fork")
    answers = fork.SimpleQueue()
    begun, done = threading.Event(), threading.Event()

    def train():
        with threads():
            begun.set()
            done.wait()

    trainer = threading.Thread(target=train)
    trainer.start()
    begun.wait()
    child = fork.Process(target=tell_threads, args=(answers,))
    child.start()
    child.join(timeout=60)
    done.set()
    trainer.join()
    assert child.exitcode == 0
    assert answers.get() == ({3}, True)
    assert blas_threads() == {3}


def test_results_come_in_order_from_as_many_threads():
    all_there = threading.Barrier(3, timeout=60)

    def function(number, letter):
        all_there.wait()  # only passed by three threads at the same time
        return letter * number

    with threads() as map_in_threads:
        assert list(map_in_threads(function, [1, 2, 3], "abc")) == ["a", "bb", "ccc"]


def test_one_thread_is_nobody_elses():
    with threadpool_limits(1, user_api="blas"), threads() as map_in_threads:
        (ident,) = map_in_threads(lambda _: threading.get_ident(), [0])
    assert map_in_threads is map
    assert ident == threading.get_ident()


def test_threads_know_what_to_do_about_overflow():
    def overflow(number):
        return np.float32(1e38) * number

    numbers = [np.float32(10)] * 4
    with np.errstate(over="raise"), threads() as map_in_threads:
        with pytest.raises(FloatingPointError):
            list(map_in_threads(overflow, numbers))
    with np.errstate(over="ignore"), threads() as map_in_threads:
        assert list(map_in_threads(overflow, numbers)) == [np.inf] * 4


def test_the_caller_works_too():
    together = threading.Barrier(3, timeout=60)

    def function(_):
        together.wait()
        return threading.get_ident()

    with threads() as map_in_threads:
        assert threading.get_ident() in map_in_threads(function, range(3))


@pytest.mark.parametrize("in_caller", [True, False])
def test_a_failure_ends_the_other_tasks(in_caller):
    caller, begun = threading.get_ident(), []
    both = threading.Barrier(3, timeout=60)

    def function(number):
        begun.append(number)
        if number < 3:
            both.wait()  # each thread has one of the first three
        if (threading.get_ident() == caller) == in_caller:
            raise ZeroDivisionError
        threading.Event().wait(0.01)

    with threads() as map_in_threads, pytest.raises(ZeroDivisionError):
        map_in_threads(function, range(1000))
    assert len(begun) < 1000
