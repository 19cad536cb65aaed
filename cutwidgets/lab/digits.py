"""scikit-learn's digits, split into training and test data."""

from dataclasses import dataclass

import keras
import numpy as np

from ..errors import CutwidgetsError
from ..extras import needs


@dataclass(frozen=True, eq=False)
class Digits:
    """Handwritten digits, split into training and test data.

    Attributes:
        train: Images, float32 (number, size, size, 1) from 0 to 1, and classes, integers from 0 to
            9.
        test: The same, of other images.
    """

    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]


def digits(size: int = 8, seed: int = 0) -> Digits:
    """Load the 1,797 handwritten digits of scikit-learn, a fifth of them as test data.

    They are the test set of "Optical recognition of handwritten digits" (Alpaydin and Kaynak 1998,
    UCI machine learning repository), written by 13 people, 8 by 8 pixels with 17 grey levels.

    Args:
        size: Pixels a side, 8 to 224; above 8 the images are enlarged.
        seed: Seed of the split, which is stratified by digit.

    Raises:
        CutwidgetsError: If the size is out of range, or scikit-learn is not installed.

    Example:
        >>> from cutwidgets import lab
        >>> data = lab.digits()
        >>> data.train[0].shape, data.test[0].shape
        ((1437, 8, 8, 1), (360, 8, 8, 1))
    """
    with needs("lab", "lab.digits"):
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

    if size not in range(8, 225):
        raise CutwidgetsError(f"size must be 8 to 224 pixels a side. Received: {size!r}.")
    flat, classes = load_digits(return_X_y=True)
    images = (flat / flat.max()).reshape(-1, 8, 8, 1).astype("float32")
    if size > 8:
        enlarged = keras.ops.image.resize(images, (size, size))
        images = np.asarray(keras.ops.convert_to_numpy(enlarged))
    split = train_test_split(images, classes, test_size=0.2, random_state=seed, stratify=classes)
    train_x, test_x, train_y, test_y = split
    return Digits((train_x, train_y), (test_x, test_y))
