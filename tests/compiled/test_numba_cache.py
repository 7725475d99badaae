"""numba's cache of the loops: what is compiled once, and what happens where it cannot be used."""

import errno
import importlib
import inspect
import os
import pickle
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from models import hash_of_fits, needs_numba
from numpy.testing import assert_array_equal

from skcnn import _compiled
from skcnn._compiled.availability import interpreter
from skcnn._compiled.errors import CompilationError

pytestmark = needs_numba
FOLDERS = [str(Path(__file__).parents[k]) for k in range(2)]


def run(*args, **environment):
    """Run Python in a new process; return what it printed, and what on standard error."""
    command = [sys.executable, "-W", "error", *args]
    environment = {**os.environ, **environment}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    return done.stdout.split(), done.stderr


IN_ANOTHER_PROCESS = """
import sys
sys.path[:0] = sys.argv[1:]
from models import hash_of_fits
from skcnn._compiled.availability import interpreter
print(hash_of_fits(), sum(interpreter().run.stats.cache_misses.values()))
"""


def test_another_process_loads_the_loops_and_computes_the_same_bits():
    # Where this process has compiled them, it also shows that no function is compiled twice.
    assert run("-c", IN_ANOTHER_PROCESS, *FOLDERS) == ([hash_of_fits(), "0"], "")


# A package like `skcnn._compiled`, whose loops are compiled in a moment.
HELPER = """
from .jit import inner

@inner
def factor():
    return 2
"""
RUN = """
from .helper import factor
from .jit import source_hash, outer

def new_run(sources):
    def run(array):
        sources
        for k in range(array.size):
            array[k] *= factor()
    return outer(run)

run = new_run(source_hash())
"""


@pytest.fixture
def package(monkeypatch, tmp_path):
    """Return the folder of a small package with `jit` and a cache of its own."""
    folder, source = tmp_path / "small_loops", Path(_compiled.__file__).parent
    folder.mkdir()
    for name in ("jit.py", "errors.py"):
        shutil.copy(source / name, folder)
    for name, text in (("__init__", ""), ("helper", HELPER), ("run", RUN)):
        (folder / f"{name}.py").write_text(text)
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    forget(folder.name)


def forget(package):
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        del sys.modules[name]


def import_again(name):
    """Import a module of a package as a new process would."""
    forget(name.split(".")[0])
    return importlib.import_module(name)


def test_an_edit_of_a_helper_compiles_the_loops_again(package):
    def computed():
        run, array = import_again("small_loops.run").run, np.ones(1)
        run(array)
        hits, misses = run.stats.cache_hits, run.stats.cache_misses
        return array.item(), sum(hits.values()), sum(misses.values())

    assert computed() == (2, 0, 1)
    assert computed() == (2, 1, 0)
    (package / "helper.py").write_text(HELPER.replace("2", "3"))
    assert computed() == (3, 0, 1)
    assert computed() == (3, 1, 0)
    (package / "helper.py").write_text(HELPER)
    assert computed() == (2, 1, 0)


def test_an_edit_of_any_file_changes_the_key_of_the_cache(package):
    sources = Path(_compiled.__file__).parent
    shutil.copytree(sources, package, dirs_exist_ok=True)
    (package / "__init__.py").write_text("")
    source_hash = importlib.import_module("small_loops.jit").source_hash.__wrapped__
    before, hashes = source_hash(), set()
    names = [path.name for path in sources.glob("*.py")]
    for name in names:
        text = (package / name).read_bytes()
        (package / name).write_bytes(text + b"# edited\n")
        hashes.add(source_hash())
        (package / name).write_bytes(text)
    assert len(hashes - {before}) == len(names)
    assert source_hash() == before
    jit = importlib.import_module("skcnn._compiled.jit")
    closure = inspect.getclosurevars(interpreter().run.py_func)
    assert closure.nonlocals["sources"] == jit.source_hash()


TOGETHER = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from small_loops.run import run
array = np.arange(3.0)
run(array)
print(*array)
"""


def test_processes_that_begin_together_may_fill_the_same_cache(package, tmp_path):
    command = [sys.executable, "-W", "error", "-c", TOGETHER, str(tmp_path)]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    started = [subprocess.Popen(command, stdout=-1, text=True, env=environment) for _ in range(2)]
    assert [process.communicate()[0].split() for process in started] == [["0.0", "2.0", "4.0"]] * 2
    assert [*tmp_path.rglob("*.nbi")]


def double(array):
    for k in range(array.size):
        array[k] *= 2


@pytest.fixture
def compile_double(monkeypatch, tmp_path):
    """Return a function that compiles `double` as if in a new process, with a cache of its own."""
    from skcnn._compiled import jit

    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(jit, "_faults", [])
    return lambda: jit.outer(double)


def assert_doubles(compiled, warning=None, dtype=float):
    """Check two calls of a compiled function, of which only the first may warn."""
    for text in (warning, None):
        array = np.arange(3, dtype=dtype)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            compiled(array)
        assert_array_equal(array, [0, 2, 4])
        assert len(caught) == (text is not None)
        if text is not None:
            assert caught[0].category is RuntimeWarning
            assert text in str(caught[0].message) and "NUMBA_CACHE_DIR" in str(caught[0].message)


def make_a_directory(path):
    path.unlink()
    path.mkdir()


DAMAGE = {
    "empty": lambda path: path.write_bytes(b""),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "of a class that is gone": lambda path: path.write_bytes(b"cnowhere\nNothing\n."),
    "a directory": make_a_directory,
}


@pytest.mark.parametrize("kind", ["nbi", "nbc"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_cache_warns_and_is_not_used(compile_double, tmp_path, kind, damage):
    assert_doubles(compile_double())
    (path,) = tmp_path.rglob(f"*.{kind}")
    DAMAGE[damage](path)
    assert_doubles(compile_double(), warning=str(path.parent))
    assert_doubles(compile_double())  # one warning for all functions of a process


def test_a_cache_of_another_version_is_replaced(compile_double, tmp_path):
    assert_doubles(compile_double())
    (path,) = tmp_path.rglob("*.nbi")
    whole = path.read_bytes()
    path.write_bytes(pickle.dumps("0.1") + b"in a format of its own")
    assert_doubles(compile_double())
    assert path.read_bytes() == whole


def test_what_another_process_compiled_for_another_dtype_is_not_used(compile_double, tmp_path):
    # Two processes that begin at the same time may give their data the same name.
    compiled = compile_double()
    assert_doubles(compiled)
    assert_doubles(compiled, dtype=np.float32)
    one, other = sorted(tmp_path.rglob("*.nbc"))
    one.write_bytes(other.read_bytes())
    assert_doubles(compile_double(), warning=str(one.parent))


def disk_is_full(*args):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("method", ["_save_index", "_save_data"])
def test_a_full_disk_warns(monkeypatch, compile_double, method):
    monkeypatch.setattr(f"numba.core.caching.IndexDataCacheFile.{method}", disk_is_full)
    compiled = compile_double()
    assert_doubles(compiled, warning=os.strerror(errno.ENOSPC))
    assert sum(compiled.stats.cache_misses.values()) == 1  # and compiled only once


def refuse(locator):
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), locator.get_cache_path())


CANNOT_WRITE = "numba.core.caching._CacheLocator.ensure_cache_path"


def test_a_folder_that_may_not_be_written_to_warns(monkeypatch, compile_double):
    monkeypatch.setattr(CANNOT_WRITE, refuse)
    assert_doubles(compile_double(), warning="no locator")


def test_a_folder_that_may_no_longer_be_written_to_warns(monkeypatch, compile_double, tmp_path):
    compiled = compile_double()
    monkeypatch.setattr(CANNOT_WRITE, refuse)
    assert_doubles(compiled, warning=str(tmp_path))


def test_the_next_call_works_where_the_warning_is_an_error(monkeypatch, compile_double):
    monkeypatch.setattr("numba.core.caching.CacheImpl._locator_classes", [])
    compiled = compile_double()
    with pytest.raises(RuntimeWarning, match="NUMBA_CACHE_DIR"):
        compiled(np.arange(3.0))
    assert_doubles(compiled)


@pytest.mark.parametrize("error", ["RuntimeError", "TypingError"])
def test_a_numba_that_cannot_compile(monkeypatch, compile_double, error):
    from numba.core import compiler, errors

    def fail(*args, **kwargs):
        raise {"RuntimeError": RuntimeError, "TypingError": errors.TypingError}[error]("no LLVM")

    monkeypatch.setattr(compiler, "compile_extra", fail)
    compiled = compile_double()
    for _ in range(2):
        array = np.ones(2)
        with pytest.raises(CompilationError) as raised:
            compiled(array)
        assert type(raised.value.__cause__).__name__ == error
        assert_array_equal(array, 1)
