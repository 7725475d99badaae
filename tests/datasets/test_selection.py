"""Arguments of the fetchers, and what is known of the official files."""

import re

import numpy as np
import pandas as pd
import pytest

from skcnn.datasets import _cifar10, _fashion_mnist, fetch_cifar10, fetch_fashion_mnist

FETCHERS = [fetch_fashion_mnist, fetch_cifar10]


@pytest.mark.parametrize(
    "params, message",
    [
        ({"subset": "valid"}, "subset='valid' must be one of"),
        ({"classes": [1, "Hat"]}, "has 'Hat', which is neither a number from 0 to 9 nor"),
        ({"classes": [10]}, "has 10, which is neither"),
        ({"classes": [-1]}, "has -1, which is neither"),
        ({"classes": [True]}, "has True, which is neither"),
        ({"classes": "Dress"}, "classes='Dress' must be a list of classes, such as"),
        ({"classes": 3}, "classes=3 must be a list of classes, such as"),
        ({"classes": []}, r"classes=\[\] must be a list of classes, such as"),
        ({"subset": ["train"]}, "must be one of"),
        ({"subset": None}, "subset=None must be one of"),
        ({"subset": b"train"}, "subset=b'train' must be one of"),
        ({"subset": "t" * 10**6}, "subset='t+.* must be one of"),
        ({"classes": [[1, 3]]}, "must be a list of classes, such as"),
        ({"classes": [1, [3]]}, "must be a list of classes, such as"),
        ({"classes": [1, [3, [5]]]}, "must be a list of classes, such as"),
        ({"classes": {1, 3}}, "must be a list of classes, such as"),
        ({"classes": {1: 3}}, "must be a list of classes, such as"),
        ({"classes": b"Dress"}, "must be a list of classes, such as"),
        ({"classes": (k for k in [1, 3])}, "must be a list of classes, such as"),
        ({"classes": np.array("Dress")}, "must be a list of classes, such as"),
        ({"classes": pd.DataFrame([[1, 3]])}, "must be a list of classes, such as"),
        ({"classes": False}, "classes=False must be a list of classes, such as"),
        ({"classes": [1, None]}, "has None, which is neither"),
        ({"classes": [np.nan]}, "has nan, which is neither"),
        ({"classes": [1.0]}, "has 1.0, which is neither"),
        ({"classes": [np.True_]}, "has np.True_, which is neither"),
        ({"classes": [b"Dress"]}, "has b'Dress', which is neither"),
        ({"classes": [2**64]}, f"has {2**64}, which is neither"),
        ({"classes": [10**5000]}, "^classes=.* has .*, which is neither"),
        ({"classes": [*range(10**5)]}, "has 10, which is neither"),
        ({"classes": np.ma.array([1, 3], mask=[0, 1])}, "has masked, which is neither"),
        ({"data_home": ""}, "data_home='' cannot be the name of a folder"),
    ],
)
@pytest.mark.parametrize("fetcher", FETCHERS)
def test_wrong_arguments_are_named(home, fetcher, params, message):
    with pytest.raises(ValueError, match=message) as raised:
        fetcher(**params)
    assert len(str(raised.value)) < 600
    assert not home.exists()


@pytest.mark.parametrize("name", ["return_X_y", "download_if_missing"])
@pytest.mark.parametrize("value", [None, 1, 0.0, "no", [], np.array([True, False])])
@pytest.mark.parametrize("fetcher", FETCHERS)
def test_wrong_switches_are_named(home, fetcher, name, value):
    with pytest.raises(TypeError, match=f"^{name}=.* must be True or False"):
        fetcher(**{name: value})
    assert not home.exists()


@pytest.mark.parametrize("remote", [_fashion_mnist._OFFICIAL, _cifar10._OFFICIAL])
def test_encrypted_addresses_come_first(remote):
    schemes = [url.partition("://")[0] for url in remote.base_urls]
    assert schemes[0] == "https"
    assert schemes == sorted(schemes, reverse=True)


@pytest.mark.parametrize("remote", [_fashion_mnist._OFFICIAL, _cifar10._OFFICIAL])
def test_official_hashes_are_sha256(remote):
    for file in remote.files.values():
        assert re.fullmatch("[0-9a-f]{64}", file.sha256)
