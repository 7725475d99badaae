"""What is saved with an estimator, so that other versions know what they read."""

# To pass as ``trusted`` to skops.io.load: the types of the estimators and of the augmentations.
TRUSTED_TYPES = [
    "skcnn._classifier.ConvNetClassifier",
    "skcnn._regressor.ConvNetRegressor",
    "skcnn._scaler.ImageScaler",
    "skcnn.augmentation.flip_left_right",
    "skcnn.augmentation.jitter",
    "skcnn.augmentation.shift",
]

# To be incremented when the attributes of an estimator, private ones too, change such that older
# versions cannot read new files.
FORMAT = 1


class VersionedState:
    """Mixin of estimators that are saved with the version of skcnn and the format of their state.

    It is for pickle, joblib and skops, all of which ask for the state and set it.
    """

    def __getstate__(self):
        from .. import __version__  # here, since the package imports this module

        return {**super().__getstate__(), "_skcnn_format": FORMAT, "_skcnn_version": __version__}

    def __setstate__(self, state):
        from .. import __version__

        state = {**state}
        format, version = state.pop("_skcnn_format", FORMAT), state.pop("_skcnn_version", None)
        if format > FORMAT:
            raise ValueError(
                f"This {type(self).__name__} was saved by skcnn {version}, in a format that skcnn "
                f"{__version__} cannot read: install skcnn>={version}, or train it again."
            )
        super().__setstate__(state)
