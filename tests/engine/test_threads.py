import multiprocessing
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_info, threadpool_limits

from skcnn import ConvNetClassifier
from skcnn._engine import threads as _threads
from skcnn._engine.threads import threads


def blas_threads():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


@pytest.fixture(autouse=True)
def three_threads_in_blas():
    _threads._helpers.forget()
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


def test_threads_are_kept_for_the_next_call_but_after_a_failure():
    def idents():
        barrier = threading.Barrier(3, timeout=60)
        with threads() as map_in_threads:
            return {*map_in_threads(lambda _: (barrier.wait(), threading.get_ident())[1], "abc")}

    kept = idents()
    assert len(kept) == 3 and idents() == kept
    with pytest.raises(ZeroDivisionError), threads() as map_in_threads:
        map_in_threads(lambda n: 1 / n, [1, 0, 1])
    others = kept - {threading.get_ident()}
    assert not others & {thread.ident for thread in threading.enumerate()}


def test_users_may_come_and_go_in_any_order():
    first, second = threads(), threads()
    first.__enter__()
    assert second.__enter__() is map
    first.__exit__(None, None, None)
    assert blas_threads() == {1}
    second.__exit__(None, None, None)
    assert blas_threads() == {3}


def in_thread(function, *args):
    """Return the result of a function in another thread."""
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(function, *args).result()


def limited_meanwhile():
    with threads() as map_in_threads:
        return blas_threads(), map_in_threads is not map


def test_any_thread_may_limit_blas():
    assert limited_meanwhile() == ({1}, True)
    with ThreadPoolExecutor(1) as executor:  # whose thread lives on between the calls
        assert executor.submit(limited_meanwhile).result() == ({1}, True)
        assert blas_threads() == {3}
        assert limited_meanwhile() == ({1}, True)
        with threadpool_limits(2, user_api="blas"):
            assert blas_threads() == {2}
            assert executor.submit(limited_meanwhile).result() == ({1}, True)
            assert blas_threads() == {2}
        assert blas_threads() == {3}
    assert in_thread(limited_meanwhile) == ({1}, True)
    assert blas_threads() == {3}


@pytest.mark.parametrize("first_ends_first", [True, False])
def test_users_in_several_threads_may_come_and_go_in_any_order(first_ends_first):
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        first, second = threads(), threads()
        assert one.submit(first.__enter__).result() is not map
        assert other.submit(second.__enter__).result() is map
        users = [(one, first), (other, second)]
        (executor, user), (last_executor, last) = users if first_ends_first else users[::-1]
        executor.submit(user.__exit__, None, None, None).result()
        assert blas_threads() == {1}
        last_executor.submit(last.__exit__, None, None, None).result()
        assert blas_threads() == {3}
        with threadpool_limits(2, user_api="blas"):  # which the two threads leave to this one
            assert blas_threads() == {2}


def test_a_limit_of_others_is_theirs_to_lift():
    with threadpool_limits(1, user_api="blas"):
        user = threads()
        assert user.__enter__() is map
    assert blas_threads() == {3}
    user.__exit__(None, None, None)
    assert blas_threads() == {3}
    limit = threadpool_limits(2, user_api="blas")
    user = threads()
    in_thread(user.__enter__)
    limit.restore_original_limits()
    assert blas_threads() == {3}
    in_thread(user.__exit__, None, None, None)
    assert blas_threads() == {3}


THREADS_OF_JOBLIB = """
from joblib import parallel_config
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score
from threadpoolctl import ThreadpoolController
from skcnn import ConvNetClassifier

blas = ThreadpoolController().select(user_api="blas").lib_controllers
for library in blas:
    library.set_num_threads(2)
    getattr(library, "clear_controlling_thread", int)()
X, y = load_digits(return_X_y=True)
model = ConvNetClassifier(n_filters=16, K=5, max_iter=2, tol=None, random_state=0)
for _ in range(3):
    with parallel_config(backend="threading", n_jobs=2):
        cross_val_score(model, X / 16, y, cv=3)
    print({library.num_threads for library in blas})
"""


def test_trainings_in_threads_of_joblib_leave_blas_as_it_was():
    command = [sys.executable, "-c", THREADS_OF_JOBLIB]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("{2}\n" * 3, "")


@pytest.mark.parametrize("n_filters", [16, (8, 8)])
def test_the_same_bits_in_any_thread(kernels, n_filters):
    images, y = load_digits(return_X_y=True)
    model = ConvNetClassifier(
        n_filters=n_filters, K=5, hidden_layer_sizes=64, max_iter=2, tol=None, random_state=0
    )

    def coefs():
        return [*model.fit(images / 16, y).coefs_, model.predict_proba(images / 16)]

    expected = coefs()
    for others in (in_thread(coefs), coefs()):
        for other, array in zip(others, expected, strict=True):
            assert (other == array).all()


class LibraryWithALimitPerThread:
    """Like MKL, or OpenBLAS with OpenMP: each calling thread has a limit of its own."""

    def __init__(self):
        self._local = threading.local()

    @property
    def num_threads(self):
        return getattr(self._local, "n_threads", 3)

    def set_num_threads(self, n_threads):
        self._local.n_threads = n_threads


def test_a_limit_per_thread_is_set_in_every_thread(monkeypatch):
    library = LibraryWithALimitPerThread()
    monkeypatch.setattr(_threads, "_blas_libraries", lambda: [library])
    together = threading.Barrier(3, timeout=60)

    def limit(_):
        together.wait()  # one task for each thread
        return library.num_threads

    def end():
        user.__exit__(None, None, None)
        return library.num_threads

    with ThreadPoolExecutor(1) as executor:
        user = threads()
        executor.submit(user.__enter__).result()
        with threads():
            assert library.num_threads == 1
            assert executor.submit(lambda: library.num_threads).result() == 1
        assert library.num_threads == 3
        assert executor.submit(end).result() == 3
    with threads() as map_in_threads:
        assert map_in_threads(limit, range(3)) == [1, 1, 1]


def test_where_no_thread_can_be_started_the_caller_computes_alone(monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    with threads() as map_in_threads:
        monkeypatch.setattr(threading.Thread, "start", refuse)
        idents = map_in_threads(lambda _: threading.get_ident(), range(8))
    assert idents == [threading.get_ident()] * 8


AFTER_THE_MAIN_THREAD = """
import atexit, threading
import numpy as np
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits
from skcnn import ConvNetClassifier

threadpool_limits(2, user_api="blas")
X, y = load_digits(return_X_y=True)
model = ConvNetClassifier(n_filters=16, K=5, max_iter=1, tol=None, random_state=0).fit(X, y)
expected = model.predict_proba(X), model.coefs_[0]

def in_a_thread():
    threading.main_thread().join()
    check()

def check():
    assert (model.predict_proba(X) == expected[0]).all()
    assert (model.fit(X, y).coefs_[0] == expected[1]).all()
    print("equal", flush=True)

atexit.register(check)
threading.Thread(target=in_a_thread).start()
"""


@pytest.mark.parametrize("fast", ["0", "1"])
def test_after_the_main_thread(fast, monkeypatch):
    monkeypatch.setenv("SKCNN_FAST", fast)
    command = [sys.executable, "-c", AFTER_THE_MAIN_THREAD]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("equal\nequal\n", "")


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
