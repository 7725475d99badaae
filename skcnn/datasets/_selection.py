"""The parts and the classes of a dataset that a user chooses, and the Bunch of them."""

from importlib.resources import files
from math import prod
from typing import Any, Literal

import numpy as np
from sklearn.utils import Bunch

from .._estimator.arguments import short_repr
from .._estimator.shapes import is_whole_number
from .._typing import Array

Subset = Literal["train", "test", "all"]


def subset_files(subset: str, subsets: dict[str, list[Any]]) -> list[Any]:
    """Return the files of a subset; those of "all" are the files of each subset in turn."""
    if not isinstance(subset, str) or subset not in (*subsets, "all"):
        raise ValueError(f"subset={short_repr(subset)} must be one of {[*subsets, 'all']}.")
    return sum(subsets.values(), []) if subset == "all" else subsets[subset]


def class_numbers(classes: Any, names: list[str]) -> list[int] | None:
    """Return the numbers of classes that are given by number or name; None for None."""
    if classes is None:
        return None
    try:
        labels = list(classes) if np.ndim(classes) == 1 else []
    except (TypeError, ValueError):  # such as for lists of several lengths
        labels = []
    if not labels:
        raise ValueError(
            f"classes={short_repr(classes)} must be a list of classes, such as [{names[0]!r}, 1]."
        )
    for label in labels:
        is_name_or_number = isinstance(label, str) or is_whole_number(label)
        if not is_name_or_number or label not in (*names, *range(len(names))):
            raise ValueError(
                f"classes={short_repr(classes)} has {short_repr(label)}, which is neither a number "
                f"from 0 to {len(names) - 1} nor one of {names}."
            )
    return [names.index(label) if isinstance(label, str) else int(label) for label in labels]


def make_dataset(
    images: list[Array],
    target: list[Array],
    classes: list[int] | None,
    return_X_y: bool,
    target_names: list[str],
    descr_file: str,
) -> Any:
    """Return the images and labels of several files as a fetcher does.

    Parameters
    ----------
    images : list of ndarray of shape (n, H, W) or (n, H, W, C)
    target : list of ndarray of shape (n,)
    classes : list of int or None
        Numbers of the classes to select; None: all.
    return_X_y : bool
    target_names : list of str
    descr_file : str
        File of the description, in the folder ``descr``.

    Returns
    -------
    dataset : Bunch, or the tuple (data, target)
    """
    all_images = np.ascontiguousarray(np.concatenate(images))
    labels = np.concatenate(target).astype(np.int64)
    if classes is not None:
        rows = np.isin(labels, classes)
        all_images, labels = all_images[rows], labels[rows]
    data = all_images.reshape(len(all_images), prod(all_images.shape[1:]))
    if return_X_y:
        return data, labels
    return Bunch(
        data=data,
        images=all_images,
        target=labels,
        target_names=list(target_names),
        DESCR=(files("skcnn.datasets") / "descr" / descr_file).read_text(encoding="utf-8"),
    )
