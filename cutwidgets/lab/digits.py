"""scikit-learn's digits, split into training and test data."""

from dataclasses import dataclass

import keras
import numpy as np

from ..errors import CutwidgetsError


@dataclass(frozen=True, eq=False)
class Digits:
    """Handwritten digits, split for training and test.

    Attributes:
        train: Pictures, float32 (number, size, size, 1) from 0 to 1, and classes, integers from 0
            to 9.
        test: The same, of other pictures.
    """

    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]


def digits(size: int = 8, seed: int = 0) -> Digits:
    """The 1,797 handwritten digits of scikit-learn, a fifth of them for the test.

    They are the test set of "Optical recognition of handwritten digits" (Alpaydin and Kaynak 1998,
    UCI machine learning repository), by 13 people, 8 by 8 pixels of 17 greys.

    Args:
        size: Pixels a side; above 8 they are enlarged.
        seed: Seed of the split, in which each digit has its share.

    Raises:
        CutwidgetsError: If they cannot have this size.

    Example:
        >>> from cutwidgets import lab
        >>> data = lab.digits()
        >>> data.train[0].shape, data.test[0].shape
        ((1437, 8, 8, 1), (360, 8, 8, 1))
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    if size not in range(8, 225):
        raise CutwidgetsError(f"The digits can have 8 to 224 pixels a side. Received: {size!r}.")
    flat, classes = load_digits(return_X_y=True)
    pictures = (flat / flat.max()).reshape(-1, 8, 8, 1).astype("float32")
    if size > 8:
        enlarged = keras.ops.image.resize(pictures, (size, size))
        pictures = np.asarray(keras.ops.convert_to_numpy(enlarged))
    split = train_test_split(pictures, classes, test_size=0.2, random_state=seed, stratify=classes)
    train_x, test_x, train_y, test_y = split
    return Digits((train_x, train_y), (test_x, test_y))
