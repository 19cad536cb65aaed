"""What an output means: softmax, sigmoid or scores; along which axis; and labels of every form."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import cutwidgets as cw
from cutwidgets import lab
from cutwidgets.graph.reader import read
from cutwidgets.lab.answers import answers
from cutwidgets.lab.subjects import subject, the_loss


@pytest.fixture(scope="module")
def random():
    return np.random.default_rng(0)


def functional(shape, *steps):
    inputs = keras.Input(shape)
    x = inputs
    for step in steps:
        x = step(x)
    return keras.Model(inputs, x)


# What leaves probabilities as they are.
KEEPING = {
    "nothing": [],
    "Reshape": [layers.Reshape((3, 1)), layers.Reshape((3,))],
    "Flatten": [layers.Flatten()],
    "Identity": [layers.Identity()],
    "Dropout": [layers.Dropout(0.5)],
    "linear": [layers.Activation("linear")],
    "ops.reshape": [lambda x: ops.reshape(x, (-1, 3, 1)), lambda x: ops.squeeze(x, -1)],
    "ops.expand_dims": [lambda x: ops.expand_dims(x, 1), layers.Flatten()],
    "cast": [lambda x: ops.cast(x, "float32")],
}
SOFTMAX = {
    "Dense": [layers.Dense(3, "softmax")],
    "Activation": [layers.Dense(3), layers.Activation("softmax")],
    "Softmax": [layers.Dense(3), layers.Softmax()],
    "ops.softmax": [layers.Dense(3), ops.softmax],
    "activations.softmax": [layers.Dense(3), keras.activations.softmax],
    "ops.nn.softmax": [layers.Dense(3), keras.ops.nn.softmax],
    "own function": [layers.Dense(3, lambda x: ops.softmax(x))],
    "nested": [keras.Sequential([keras.Input((4,)), layers.Dense(3, "softmax")])],
}


@pytest.mark.parametrize("after", KEEPING)
@pytest.mark.parametrize("end", SOFTMAX)
def test_a_softmax_is_found_behind_whatever_keeps_it(end, after):
    model = functional((4,), *SOFTMAX[end], *KEEPING[after])
    assert answers(read(model)).activation == "softmax"
    logits = functional((4,), layers.Dense(3), *KEEPING[after])
    assert answers(read(logits)).activation is None


@pytest.mark.parametrize("after", [[], [layers.Reshape((1,))], [layers.Flatten()]])
@pytest.mark.parametrize(
    "activation", ["sigmoid", "hard_sigmoid", ops.sigmoid, lambda x: ops.sigmoid(x)]
)
def test_a_sigmoid_decides_at_one_half(activation, after, random):
    x, y = random.normal(size=(64, 4)).astype("float32"), random.integers(0, 2, 64)
    model = functional((4,), layers.Dense(1, activation, bias_initializer="ones"), *after)
    right = np.mean((model.predict(x, verbose=0).ravel() > 0.5) != y)
    case = subject(model, x, y)
    assert case.kind == "error"
    assert case.score(case.output(), case.output()) == pytest.approx(right)


def test_a_logarithm_of_probabilities_is_read_as_such(random):
    x, y = random.normal(size=(64, 4)).astype("float32"), random.integers(0, 2, 64)
    model = functional((4,), layers.Dense(1, "log_sigmoid"))
    case = subject(model, x, y)
    output = case.output()
    assert case.score(output, output) == np.mean((np.exp(output[:, 0]) > 0.5) != y)
    loss = the_loss(case, *map(ops.convert_to_tensor, (output, y.astype("int32"))))
    p = np.exp(output[:, 0].astype("float64"))
    assert float(loss) == pytest.approx(-np.log(np.where(y, p, 1 - p)).sum(), rel=1e-4)
    three = functional((4,), layers.Dense(3, "log_softmax"))
    assert answers(read(three)).activation is None


def test_what_the_graph_does_not_tell_is_told_by_the_values(random):
    class Own(keras.Layer):
        def __init__(self, function):
            super().__init__()
            self.function = function

        def call(self, x):
            return self.function(x)

    x, y = random.normal(size=(64, 4)).astype("float32"), random.integers(0, 3, 64)
    cases = ((ops.softmax, 3, "softmax"), (ops.sigmoid, 1, "sigmoid"), (ops.tanh, 3, None))
    odd = layers.Dense(3, lambda x: ops.softmax(2 * x))
    models = [(odd, 3, "softmax")]
    models += [(Own(function), units, wanted) for function, units, wanted in cases]
    for layer, units, wanted in models:
        model = functional((4,), layers.Dense(units), layer)
        assert answers(read(model)).activation == "unknown"
        assert subject(model, x, y % units if units > 1 else y % 2).answers.activation == wanted


def test_an_average_of_softmaxes_is_one():
    inputs = keras.Input((4,))
    two = [layers.Dense(3, "softmax")(inputs) for _ in range(2)]
    assert answers(read(keras.Model(inputs, layers.average(two)))).activation == "softmax"
    mixed = [two[0], layers.Dense(3)(inputs)]
    assert answers(read(keras.Model(inputs, layers.average(mixed)))).activation is None


def axis_one(classes, size):
    """A segmentation network with its classes along axis 1, which runs on a CPU."""

    def mixed(x):
        return layers.EinsumDense("bchw,cd->bdhw", output_shape=(classes, size, size))(x)

    inputs = keras.Input((2, size, size))
    x = mixed(inputs)
    return keras.Model(inputs, layers.Softmax(axis=1)(layers.Add()([x, mixed(x)])))


@pytest.mark.parametrize("classes", [3, 6])
def test_classes_along_axis_one(classes, random):
    """With 6 classes and 6 by 6 positions nothing would complain about the wrong axis."""
    model, size = axis_one(classes, 6), 6
    x = random.normal(size=(4, 2, size, size)).astype("float32")
    y = random.integers(0, classes, (4, size, size))
    right = np.mean(model.predict(x, verbose=0).argmax(1) != y)
    assert lab.lesions(model, x, y).base == pytest.approx(right)
    one_hot = np.moveaxis(np.eye(classes)[y], -1, 1)
    assert lab.lesions(model, x, one_hot).base == pytest.approx(right)
    case = subject(model, x, y)
    output = ops.convert_to_tensor(case.output())
    loss = the_loss(case, output, ops.convert_to_tensor(y.astype("int32")))
    flat = np.moveaxis(case.output(), 1, -1).reshape(-1, classes)
    wanted = -np.log(flat[np.arange(len(flat)), y.ravel()]).reshape(4, -1).mean(1).sum()
    assert float(loss) == pytest.approx(wanted, rel=1e-4)


def test_a_permutation_moves_the_axis_of_the_classes(random):
    model = functional((6, 6, 2), layers.Conv2D(3, 1), layers.Softmax(), layers.Permute((3, 1, 2)))
    assert answers(read(model)).axis == 1
    x, y = random.normal(size=(4, 6, 6, 2)), random.integers(0, 3, (4, 6, 6))
    wanted = np.mean(model.predict(x, verbose=0).argmax(1) != y)
    case = subject(model, x, y)
    assert case.score(case.output(), case.output()) == pytest.approx(wanted)
    back = functional((3, 6, 6), layers.Softmax(axis=1), layers.Permute((2, 3, 1)))
    assert answers(read(back)).axis == 3


@pytest.mark.parametrize("activation", ["sigmoid", None])
def test_several_classes_at_once_are_decisions(activation, random):
    x = random.normal(size=(64, 4)).astype("float32")
    y = (random.random((64, 5)) < 0.3).astype(int)
    y[0] = [1, 1, 0, 0, 0]
    model = functional((4,), layers.Dense(5, activation))
    case = subject(model, x, y)
    output = case.output()
    wrong = np.mean((output > (0.5 if activation else 0)) != y)
    assert case.kind == "wrong decisions"
    assert case.score(output, output) == pytest.approx(wrong)
    p = output if activation else 1 / (1 + np.exp(-output.astype("float64")))
    entropy = -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean(1).sum()
    tensors = [ops.convert_to_tensor(value) for value in (output, y.astype("int32"))]
    assert float(the_loss(case, *tensors)) == pytest.approx(entropy, rel=1e-4)
    assert subject(model, x, y, "squared error").score(output, output) == pytest.approx(
        np.mean((output - y) ** 2), rel=1e-5
    )


def test_the_measure_can_be_chosen(random):
    x, y = random.normal(size=(30, 4)), random.integers(0, 2, 30).astype("float32")
    numbers = functional((4,), layers.Dense(1))
    assert subject(numbers, x, y).kind == "error"
    case = subject(numbers, x, y, "squared error")
    assert case.score(case.output(), case.output()) == pytest.approx(
        np.mean((case.output()[:, 0] - y) ** 2), rel=1e-5
    )
    assert subject(numbers, x, y, "change").labels is None
    with pytest.raises(cw.CutwidgetsError, match="cannot be measured by 'wrong decisions'"):
        subject(numbers, x, y, "wrong decisions")
    with pytest.raises(cw.CutwidgetsError, match="measure is one of"):
        subject(numbers, x, y, "accuracy")


def test_labels_that_cannot_be_meant_are_refused(random):
    masks = functional((6, 6, 1), layers.Conv2D(1, 1, activation="sigmoid"))
    x = random.random((3, 6, 6, 1))
    assert subject(masks, x, x > 0.5).kind == "error"
    with pytest.raises(cw.CutwidgetsError, match="pass y / 255"):
        subject(masks, x, 255 * (x > 0.5))
    classes = functional((6, 6, 1), layers.Conv2D(3, 1, activation="softmax"))
    with pytest.raises(cw.CutwidgetsError, match="with the classes along axis 3"):
        subject(classes, x, np.zeros((3, 5, 6), int))
    with pytest.raises(cw.CutwidgetsError, match="the classes 0 to 2"):
        subject(classes, x, np.full((3, 6, 6), 3))


def test_a_data_set_is_told_how_to_become_arrays():
    model = functional((4,), layers.Dense(3))

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            return np.zeros((2, 4)), np.zeros(2)

    for data in (Batches(), iter([np.zeros((2, 4))])):
        with pytest.raises(cw.CutwidgetsError, match="collect its batches first"):
            subject(model, data)
