#!/usr/bin/env bash
# threadpoolctl 3.8: the thread that sets a limit first decides who may set one.
#
# One would expect: library.set_num_threads(1) sets the number of threads of BLAS, as in 3.7, from
# whichever thread it is called; and two threads that overlap inside `with threadpool_limits(1)`
# leave BLAS with the number of threads that it had before, since the class was changed in 3.8 so
# that threads do not fight over it.
#
# What happens, with NumPy's own OpenBLAS, whose pool of threads is one for the whole process:
# - after one call of set_num_threads in the main thread, all calls in other threads do nothing, and
#   say nothing, for as long as the main thread lives. A worker thread of the same process that wants
#   BLAS limited runs with BLAS unlimited. threadpool_limits gives the control up, set_num_threads
#   does not; OpenBLASController.clear_controlling_thread() does, and is to be called.
# - of two overlapping contexts, the second cannot set the limit, but when it ends, after the first,
#   it is free to "restore" the number that it saw on entering: 1. BLAS has one thread for ever.
#
# Why it matters: a network, a filter bank or a clustering of images calls BLAS with many small
# products. In a server or under joblib's threading backend they run in worker threads, where the
# first behaviour made a training 50 times as slow, and the second takes half of the cores from all
# that the process computes afterwards.
#
# Versions: threadpoolctl 3.8.0 (3.5.0 and 3.6.0 set the number from any thread; overlapping
# contexts leave one thread there too), numpy 2.4.6, Python 3.11.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/environment"
python="$folder/environment/bin/python"
"$python" -m pip install --quiet numpy==2.4.6 threadpoolctl==3.8.0

cat > "$folder/show.py" <<'PYTHON'
from concurrent.futures import ThreadPoolExecutor

import numpy  # noqa: F401: loads OpenBLAS
from threadpoolctl import ThreadpoolController, threadpool_limits

(blas,) = ThreadpoolController().select(user_api="blas").lib_controllers
print("library:", blas.internal_api, blas.threading_layer)
threads = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
for executor in threads:
    executor.submit(int).result()  # starts the thread


def in_thread(k, function, *args):
    return threads[k].submit(function, *args).result()


blas.set_num_threads(2)
in_thread(0, blas.set_num_threads, 1)
ignored = blas.num_threads
print("set to 2 by the main thread, then to 1 by another one:", ignored)

blas.clear_controlling_thread()
in_thread(0, blas.set_num_threads, 1)
print("the same after the main thread gave up the control:", blas.num_threads)
in_thread(0, blas.clear_controlling_thread)
blas.set_num_threads(2)
blas.clear_controlling_thread()

first = in_thread(0, threadpool_limits, 1)
in_thread(0, first.__enter__)
second = in_thread(1, threadpool_limits, 1)
in_thread(1, second.__enter__)
in_thread(0, first.__exit__, None, None, None)
print("two contexts overlap, the first has ended:", blas.num_threads)
in_thread(1, second.__exit__, None, None, None)
left = blas.num_threads
print("both have ended:", left)
raise SystemExit((ignored, left) != (2, 1))
PYTHON
"$python" "$folder/show.py"

# Output:
# library: openblas pthreads
# set to 2 by the main thread, then to 1 by another one: 2
# the same after the main thread gave up the control: 1
# two contexts overlap, the first has ended: 2
# both have ended: 1
