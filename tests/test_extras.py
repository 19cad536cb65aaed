import pickle

import pytest

from cutwidgets.errors import CutwidgetsError
from cutwidgets.extras import needs


def missing():
    with pytest.raises(CutwidgetsError) as error, needs("lab", "A plot"):
        import no_such_library.deep  # noqa: F401
    return error.value


def test_a_missing_library_is_reported_in_one_line():
    error = missing()
    assert isinstance(error, ImportError)
    assert str(error) == (
        'A plot needs no_such_library, which is not installed. Run: pip install "cutwidgets[lab]"'
    )
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_libraries_that_are_there_are_imported_as_ever():
    with needs("lab", "A plot"):
        import json
    assert json.dumps(1) == "1"
