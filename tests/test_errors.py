"""Errors travel: from the workers of a pool, and through every way of copying."""

import copy
import importlib
import pickle
import pkgutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

import cutwidgets as cw
from cutwidgets.extras import MissingExtraError

ERRORS = [
    cw.CutwidgetsError("The disk is full."),
    MissingExtraError("A plot needs matplotlib."),
    cw.CutError("It cannot be cut.", 3),
    cw.UnknownPlaceError("b9", "The model has no block 'b9'.", ["b1", "b2"]),
    cw.UnknownPlaceError(9, "The model has no block 9."),
    cw.BypassedCutError("b1_conv", "The start is bypassed.", ["b0_add"], ["b1"]),
    cw.UnsupportedModelError("The model is not built."),
]


def fail(number):
    raise ERRORS[number]


def told(error):
    return type(error), str(error), error.args, vars(error)


def subclasses(kind):
    return {kind}.union(*map(subclasses, kind.__subclasses__()))


def test_every_error_is_tested():
    for module in pkgutil.walk_packages(cw.__path__, "cutwidgets."):
        if not module.name.endswith("ray_engine"):
            importlib.import_module(module.name)
    ours = {
        kind for kind in subclasses(cw.CutwidgetsError) if kind.__module__.startswith("cutwidgets")
    }
    assert ours == {type(error) for error in ERRORS}


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_errors_are_the_same_after_pickling_and_copying(error):
    error = copy.copy(error)
    error.add_note("a note")
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert told(pickle.loads(pickle.dumps(error, protocol))) == told(error)
    assert told(copy.copy(error)) == told(copy.deepcopy(error)) == told(error)


def test_errors_of_ones_own_travel_too():
    class OwnError(cw.UnknownPlaceError):
        def __init__(self, *, place):
            super().__init__(place, "There is none.", ["b1"])

    assert told(copy.deepcopy(OwnError(place="b9"))) == told(OwnError(place="b9"))


def test_an_error_in_a_worker_leaves_the_pool_alive():
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        for number, error in enumerate(ERRORS):
            with pytest.raises(cw.CutwidgetsError) as caught:
                pool.submit(fail, number).result(timeout=60)
            # The traceback of the worker comes along, as a cause.
            assert told(caught.value) == told(error)
        assert pool.submit(int, "3").result(timeout=60) == 3
