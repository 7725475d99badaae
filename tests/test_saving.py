"""Files of pickle, joblib and skops, of this version and of others."""

import copy
import io
import pickle

import joblib
import numpy as np
import pytest
from fuzz.deep import arrays, difference, freeze
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline

import skcnn
from skcnn import TRUSTED_TYPES, ConvNetClassifier, ConvNetRegressor, ImageScaler
from skcnn._estimator import saving
from skcnn.augmentation import flip_left_right, jitter, shift

OPTIONS = {"batch_size": 40, "tol": None, "max_iter": 2, "random_state": 0}
X = load_digits().images[:80].astype(np.float32)
y = load_digits().target[:80]


def several_layers(**options):
    return ConvNetClassifier(
        n_filters=(2, 3), pool_size=2, hidden_layer_sizes=4, dropout=0.2, **OPTIONS, **options
    )


ESTIMATORS = {
    "classifier": lambda: several_layers().fit(X, y),
    "strings": lambda: ConvNetClassifier(**OPTIONS).fit(
        X.astype(float), np.array(["a", "b"])[y % 2]
    ),
    "labels": lambda: ConvNetClassifier(**OPTIONS).fit(X, np.stack([y > 3, y < 6], 1).astype(int)),
    "augmented": lambda: ConvNetClassifier(
        augment=(shift(), flip_left_right(), jitter()), **OPTIONS
    ).fit(X, y),
    "random state": lambda: ConvNetClassifier(
        **{**OPTIONS, "random_state": np.random.RandomState(0)}
    ).fit(X, y),
    "regressor": lambda: ConvNetRegressor(solver="sgd", momentum=0.9, **OPTIONS).fit(X, y),
    "targets": lambda: ConvNetRegressor(**OPTIONS).fit(X, np.stack([y, -y], axis=1)),
    "scaler": lambda: ImageScaler().fit(X),
    "scaler of channels": lambda: ImageScaler(per="channel").fit(X),
    "scaler of rows": lambda: ImageScaler().fit(X.reshape(len(X), -1)),
    "pipeline": lambda: make_pipeline(ImageScaler(), several_layers()).fit(X, y),
    "unfitted": lambda: several_layers(),
}


def by_pickle(estimator, folder):
    return pickle.loads(pickle.dumps(estimator))


def by_joblib(estimator, folder):
    joblib.dump(estimator, folder / "saved.joblib")
    return joblib.load(folder / "saved.joblib")


def by_mapped_memory(estimator, folder):
    joblib.dump(estimator, folder / "saved.joblib")
    return joblib.load(folder / "saved.joblib", mmap_mode="r")


def by_skops(estimator, folder):
    skops = pytest.importorskip("skops.io")
    file = skops.dumps(estimator)
    assert {*skops.get_untrusted_types(data=file)} <= {*TRUSTED_TYPES}
    return skops.loads(file, trusted=TRUSTED_TYPES)


def by_copy(estimator, folder):
    return copy.deepcopy(estimator)


def results(estimator):
    """Return what an estimator computes, and what it would after one more epoch."""
    found = []
    for _ in range(2):
        *scalers, last = estimator if hasattr(estimator, "steps") else [estimator]
        images = X.reshape(len(X), -1) if getattr(last, "_as_rows", False) else X
        for scaler in scalers:
            images = scaler.transform(images)
        method = "transform" if isinstance(last, ImageScaler) else "predict"
        found.append(getattr(last, method)(images))
        if isinstance(last, ImageScaler):
            last.partial_fit(images + 1)
            continue
        of = last.classes_[y % len(last.classes_)] if hasattr(last, "classes_") else y
        if getattr(last, "_has_labels", False):
            of = np.stack([y > 3, y < 6], axis=1).astype(int)
        elif getattr(last, "_target_shape", ()):
            of = np.stack([y, -y], axis=1)
        last.partial_fit(images, of)
        found.append(arrays(last))
    return freeze(found)


@pytest.mark.parametrize("way", [by_pickle, by_joblib, by_mapped_memory, by_skops, by_copy])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_saved_estimator_is_the_same_and_goes_on_the_same(name, way, tmp_path):
    estimator = ESTIMATORS[name]()
    loaded = way(estimator, tmp_path)
    assert type(loaded) is type(estimator)
    if way is not by_mapped_memory:  # whose arrays are of another type
        assert difference(freeze(vars(estimator)), freeze(vars(loaded))) is None
    if name != "unfitted":
        assert difference(results(estimator), results(loaded)) is None
    elif way is not by_copy:
        assert difference(results(estimator.fit(X, y)), results(loaded.fit(X, y))) is None


def test_trusted_types_are_the_public_estimators():
    names = {"ConvNetClassifier", "ConvNetRegressor", "ImageScaler", *skcnn.augmentation.__all__}
    assert {name.rpartition(".")[2] for name in TRUSTED_TYPES} == names
    for path in TRUSTED_TYPES:
        module, _, name = path.rpartition(".")
        assert module.startswith("skcnn.") and len(module.split(".")) == 2


class Recorder(pickle.Unpickler):
    """Loads a pickle, and records which names it asks for."""

    def __init__(self, data):
        super().__init__(io.BytesIO(data))
        self.found = set()

    def find_class(self, module, name):
        self.found.add(f"{module}.{name}")
        return super().find_class(module, name)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_pickle_has_no_objects_of_the_inside(name):
    recorder = Recorder(pickle.dumps(ESTIMATORS[name]()))
    recorder.load()
    ours = {path for path in recorder.found if path.startswith("skcnn")}
    assert ours and ours <= {*TRUSTED_TYPES}


@pytest.mark.parametrize("name", ["classifier", "regressor", "scaler", "unfitted"])
def test_a_file_has_the_version(name, monkeypatch):
    estimator = ESTIMATORS[name]()
    state = estimator.__getstate__()
    assert state["_skcnn_version"] == skcnn.__version__
    assert not [key for key in vars(estimator) if key.startswith("_skcnn")]

    monkeypatch.setattr(skcnn, "__version__", "9.8.7")
    of_later_version = pickle.dumps(estimator)
    monkeypatch.setattr(saving, "FORMAT", saving.FORMAT + 1)
    of_later_format = pickle.dumps(estimator)
    monkeypatch.undo()

    loaded = pickle.loads(of_later_version)  # in the same format
    assert difference(freeze(vars(estimator)), freeze(vars(loaded))) is None
    message = (
        rf"This {type(estimator).__name__} was saved by skcnn 9\.8\.7, in a format that skcnn "
        rf"{skcnn.__version__} cannot read: install skcnn>=9\.8\.7, or train it again\."
    )
    with pytest.raises(ValueError, match=message):
        pickle.loads(of_later_format)
