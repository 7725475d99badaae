"""Every public function and method has types for all it takes and returns.

That the types are true is for mypy, over the package and tests/typing_usage.py.
"""

import inspect
from pathlib import Path

import pytest

import skcnn
from skcnn import augmentation, datasets

PUBLIC = {
    f"{module.__name__}.{name}": getattr(module, name)
    for module in (skcnn, augmentation, datasets)
    for name in module.__all__
    if callable(getattr(module, name))
}


def functions(public):
    """A function, or the methods of a class that the package itself defines."""
    if not isinstance(public, type):
        return [public]
    members = (getattr(public, name) for name in dir(public) if name[0] != "_")
    methods = [public.__init__, *filter(callable, members)]
    return [f for f in methods if inspect.unwrap(f).__globals__["__name__"].startswith("skcnn.")]


@pytest.mark.parametrize("name", PUBLIC)
def test_all_that_is_public_has_types(name):
    found = functions(PUBLIC[name])
    assert found
    for function in found:
        signature = inspect.signature(function)
        types = [parameter.annotation for parameter in signature.parameters.values()]
        types = types[1:] if "self" in signature.parameters else types
        assert inspect.Parameter.empty not in [*types, signature.return_annotation], function


def test_the_package_says_that_it_has_types():
    assert (Path(skcnn.__file__).parent / "py.typed").is_file()
