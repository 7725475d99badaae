"""Types of what users pass."""

from collections.abc import Callable
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]


class Sparse(Protocol):
    """A sparse array or matrix of SciPy, which has no types itself."""

    def toarray(self) -> Array: ...  # noqa: D102


MaybeSparse = ArrayLike | Sparse
ImageShape = tuple[int, ...] | list[int]

Sizes = int | tuple[int, ...] | list[int] | range | Array  # one for all layers, or one for each
PoolSize = int | Literal["global"]
PoolSizes = PoolSize | tuple[PoolSize, ...] | list[PoolSize] | range | Array

PoolingKind = Literal["max", "average"]
Poolings = PoolingKind | tuple[PoolingKind, ...] | list[PoolingKind] | Array

Augment = Callable[[Array, np.random.RandomState], Array]
Augments = Augment | tuple[Augment, ...] | list[Augment]

Method = TypeVar("Method", bound=Callable[..., Any])
