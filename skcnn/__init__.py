"""The convolutional network as a first-class scikit-learn estimator."""

from ._classifier import ConvNetClassifier
from ._displays import FeatureMapDisplay, FilterDisplay, LossCurveDisplay
from ._estimator.saving import TRUSTED_TYPES
from ._regressor import ConvNetRegressor
from ._scaler import ImageScaler

__all__ = [
    "ConvNetClassifier",
    "ConvNetRegressor",
    "FeatureMapDisplay",
    "FilterDisplay",
    "ImageScaler",
    "LossCurveDisplay",
    "TRUSTED_TYPES",
]
__version__ = "0.1.0.dev0"
