"""MLPClassifier and MLPRegressor, minidl's networks as scikit-learn estimators: pip install 'minidl[sklearn]'."""

try:
    from sklearn.utils.validation import validate_data as validate_data
except ImportError as error:
    raise ImportError(
        "minidl.sklearn needs scikit-learn 1.6 or newer; install it with: pip install 'minidl[sklearn]'"
    ) from error

from minidl.sklearn.classifier import MLPClassifier
from minidl.sklearn.regressor import MLPRegressor
from minidl.sklearn.workers import keep_to_share_of_cores

__all__ = ["MLPClassifier", "MLPRegressor"]

keep_to_share_of_cores()
