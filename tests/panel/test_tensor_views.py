"""What the page draws of a tensor is what the tensor holds, for all shapes and dtypes."""

import io
import itertools
import json
import warnings

import keras
import ml_dtypes
import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image

from cutwidgets.panel import result_views
from cutwidgets.panel.page import as_text
from cutwidgets.panel.tensor_views import maps, number, statistics
from cutwidgets.structure.anatomy import anatomy
from cutwidgets.surgery.build import build
from cutwidgets.surgery.slicing import section

TOLERANCE = 3  # of a colour: a picture has 255 of the 256 colours of viridis

VIEWS = {"maps", "sequence", "signal", "vector", "profile", "tokens", "empty"}


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape)


def view(array, first=0, channel_axis=-1, padding=False):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shown = maps(np.asarray(array), first, channel_axis, padding)
    assert json.loads(json.dumps(as_text(shown), allow_nan=False))
    return shown


def colours(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA")).astype(int)


def viridis(values, low, high):
    return colormaps["viridis"]((values - low) / (high - low), bytes=True).astype(int)


def tiles(shown):
    """The maps of a view, cut out of its picture."""
    sheet, (width, height) = colours(shown["picture"]), shown["drawn"]
    columns = shown["columns"]
    for i in range(len(shown["scales"])):
        top, left = height * (i // columns), width * (i % columns)
        yield sheet[top : top + height, left : left + width]


def assert_maps(shown, images):
    """The view draws these images (height, width, channels), each from its own min to max."""
    assert shown["view"] == "maps"
    assert len(shown["scales"]) == images.shape[-1]
    for tile, (low, high), image in zip(
        tiles(shown), shown["scales"], np.moveaxis(images, -1, 0), strict=True
    ):
        assert (low, high) == pytest.approx((image.min(), image.max()))
        assert np.abs(tile - viridis(image, low, high)).max() <= TOLERANCE


# Feature maps


@pytest.mark.parametrize("shape", [(1, 5, 7, 3), (2, 5, 7, 1), (1, 8, 8, 32), (1, 2, 2, 40)])
def test_feature_maps_are_drawn_channel_by_channel(shape):
    array = normal(*shape)
    shown = view(array)
    assert_maps(shown, array[0, ..., :32])
    assert shown["size"] == [shape[2], shape[1]]
    assert shown["channels"] == shape[-1]
    assert shown["words"] == f"channels 1 to {min(32, shape[-1])} of {shape[-1]}"


@pytest.mark.parametrize(("first", "begin"), [(0, 0), (5, 5), (8, 8), (99, 8), (-3, 0)])
def test_a_later_channel_may_come_first(first, begin):
    array = normal(1, 4, 4, 40)
    shown = view(array, first)
    assert shown["first"] == begin
    assert_maps(shown, array[0, ..., begin : begin + 32])
    assert shown["places"][3] == f"[0, :, :, {begin + 3}]"


CASES = [
    ((2, 6, 5, 7), -1),
    ((2, 6, 5, 7), 1),
    ((1, 6, 5, 7, 4), -1),
    ((1, 6, 5, 7, 4), 1),
    ((1, 3, 6, 5, 7, 4), -1),
    ((1, 6, 1, 5, 4), -1),
    ((1, 4, 6, 1, 5), 1),
]


@pytest.mark.parametrize(("shape", "channel_axis"), CASES)
def test_the_place_of_a_map_is_where_it_comes_from(shape, channel_axis):
    """The place is written as NumPy writes an index: evaluated, it gives what is drawn."""
    array = normal(*shape)
    shown = view(array, channel_axis=channel_axis)
    images = [eval(f"array{place}", {"array": array}) for place in shown["places"]]
    assert_maps(shown, np.stack(images, axis=-1))
    assert len(images) == shape[channel_axis]


def test_of_a_volume_the_middle_is_drawn_and_the_notes_say_so():
    shown = view(normal(1, 9, 5, 7, 4))
    assert shown["notes"] == ["The middle of axis 1: position 4 of 0 to 8."]
    assert shown["places"][0] == "[0, 4, :, :, 0]"
    twice = view(normal(1, 3, 9, 5, 7, 4))["notes"]
    assert [note[:21] for note in twice] == ["The middle of axis 1:", "The middle of axis 2:"]


def test_channels_first():
    array = normal(1, 3, 8, 9)
    shown = view(array, channel_axis=1)
    assert_maps(shown, np.moveaxis(array[0], 0, -1))
    assert shown["notes"] == ["The channels are on axis 1."]
    # A vector has its channels on axis 1 anyway.
    assert view(normal(1, 3), channel_axis=1)["notes"] == []


def test_large_maps_are_thinned_out_and_the_notes_say_so():
    array = normal(1, 300, 400, 32)
    shown = view(array)
    assert shown["notes"] == ["Every 4th pixel is drawn."]
    assert shown["size"] == [400, 300]
    assert shown["drawn"] == [100, 75]
    low, high = shown["scales"][9]
    assert (low, high) == pytest.approx((array[..., 9].min(), array[..., 9].max()))
    tile = list(tiles(shown))[9]
    assert np.abs(tile - viridis(array[0, ::4, ::4, 9], low, high)).max() <= TOLERANCE
    # A photograph is drawn whole.
    assert view(normal(1, 224, 224, 3))["drawn"] == [224, 224]


@pytest.mark.parametrize(
    "shape", [(1, 224, 224, 64), (1, 1024, 1024, 3), (1, 4096, 4096), (1, 9**7)]
)
def test_messages_are_small(shape):
    assert len(json.dumps(as_text(view(normal(*shape))))) < 700_000


def test_each_map_has_its_own_scale_and_the_range_is_that_of_all():
    array = np.stack([normal(5, 5), 1000 * normal(5, 5) + 7], axis=-1)[np.newaxis]
    shown = view(array)
    assert_maps(shown, array[0])
    assert shown["range"] == pytest.approx([array.min(), array.max()])


# Sequences and signals


@pytest.mark.parametrize("shape", [(1, 512, 16), (2, 3, 5), (1, 5, 300), (1, 4, 4)])
def test_a_sequence_is_a_heat_map_with_positions_from_left_to_right(shape):
    array = normal(*shape)
    shown = view(array)
    assert shown["view"] == "sequence"
    assert shown["size"] == [*shape[1:]]
    low, high = shown["range"]
    assert (low, high) == pytest.approx((array[0].min(), array[0].max()))
    assert np.abs(colours(shown["picture"]) - viridis(array[0].T, low, high)).max() <= TOLERANCE


def test_long_sequences_are_thinned_out_and_the_notes_say_so():
    array = normal(1, 2000, 700)
    shown = view(array)
    assert shown["notes"] == ["Every 4th position is drawn.", "Every 2nd feature is drawn."]
    assert shown["size"] == [2000, 700]
    wanted = viridis(array[0, ::4, ::2].T, *shown["range"])
    assert np.abs(colours(shown["picture"]) - wanted).max() <= TOLERANCE


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_a_signal_is_a_line_for_each_channel(channels):
    array = normal(2, 200, channels)
    shown = view(array)
    assert shown["view"] == "signal"
    assert shown["length"] == 200
    assert len(shown["lines"]) == channels
    for line, values in zip(shown["lines"], array[0].T, strict=True):
        assert line["mean"] == pytest.approx(values)
        assert line["range"] == pytest.approx([values.min(), values.max()])
    assert [line["title"] for line in shown["lines"]][-1] == ("" if channels == 1 else
                                                              f"channel {channels}")  # fmt: skip


@pytest.mark.parametrize("length", [257, 1000, 16_000])
def test_a_long_line_has_the_mean_and_the_range_of_each_part(length):
    values = normal(length)
    values[3:5] = np.nan
    (line,) = view(values[np.newaxis, :, np.newaxis])["lines"]
    parts = len(line["mean"])
    assert parts == 256
    edges = [i * length // parts for i in range(parts + 1)]
    for i, (start, stop) in enumerate(itertools.pairwise(edges)):
        part = values[start:stop]
        if np.isnan(part).all():
            assert line["low"][i] is line["mean"][i] is line["high"][i] is None
            continue
        found = line["low"][i], line["mean"][i], line["high"][i]
        assert found == pytest.approx((np.nanmin(part), np.nanmean(part), np.nanmax(part)))


def test_small_differences_on_a_large_number_are_kept():
    values = 1000 + 1e-4 * normal(1, 50)
    (line,) = view(values)["lines"]
    assert np.corrcoef(line["mean"], values[0])[0, 1] > 0.999


# Vectors


@pytest.mark.parametrize("shape", [(1, 1), (2, 10), (1, 20), (1, 1, 1, 7), (1, 1, 7), (3,), ()])
def test_short_vectors_are_written_out(shape):
    array = normal(*shape)
    shown = view(array)
    wanted = array.ravel() if array.ndim < 2 else array[0].ravel()
    assert shown["view"] == "vector"
    assert shown["values"] == pytest.approx(wanted)
    assert shown["texts"] == [number(value) for value in wanted]
    assert shown["along"] == ("example" if shape == (3,) else "index")


@pytest.mark.parametrize("size", [21, 256, 1000])
def test_long_vectors_are_a_line(size):
    array = normal(1, size)
    shown = view(array)
    assert shown["view"] == "profile"
    assert shown["length"] == size
    (line,) = shown["lines"]
    assert line["range"] == pytest.approx([array.min(), array.max()])
    if size <= 256:
        assert line["mean"] == pytest.approx(array[0])
        assert shown["notes"] == []
    else:
        assert "mean of each 3.91 numbers" in shown["notes"][0]


@pytest.mark.parametrize(
    ("shape", "channel_axis", "notes"),
    [
        ((1, 1, 1, 7), -1, ["The axes 1 and 2 have length 1 and are left out."]),
        ((1, 7, 1, 1), 1, ["The channels are on axis 1.",
                           "The axes 2 and 3 have length 1 and are left out."]),
        ((1, 1, 7), -1, ["Axis 1 has length 1 and is left out."]),
        ((1, 1, 1, 1, 7), -1, ["The axes 1, 2 and 3 have length 1 and are left out."]),
        ((4, 7), -1, ["Example 1 of 4."]),
        ((4,), -1, ["One number for each of 4 examples."]),
        ((1, 1), -1, []),
        ((), -1, []),
    ],
)  # fmt: skip
def test_notes_on_the_shape(shape, channel_axis, notes):
    shown = view(normal(*shape), channel_axis=channel_axis)
    assert shown["view"] == "vector"
    assert shown["notes"] == notes


# Token ids, truth values, texts


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "uint64"])
def test_integers_are_written_into_cells(dtype):
    array = np.array([[5, 0, 127, 0], [1, 1, 1, 1]], dtype)
    shown = view(array)
    assert shown["view"] == "tokens"
    assert shown["cells"] == ["5", "0", "127", "0"]
    assert shown["padded"] == []
    assert shown["notes"] == ["Example 1 of 2."]
    assert view(array, padding=True)["padded"] == [1, 3]
    assert view(array[1:], padding=True)["padded"] == []


def test_large_integers_are_exact():
    assert view(np.array([[2**53 + 1]]))["cells"] == ["9007199254740993"]


def test_of_many_cells_the_first_are_shown():
    shown = view(np.arange(1000)[np.newaxis], padding=True)
    assert shown["cells"] == [str(i) for i in range(256)]
    assert shown["notes"] == ["0 is padding: the model masks it.", "The first 256 of 1,000."]


def test_truth_values():
    assert view([[True, False]])["cells"] == ["true", "false"]
    shown = view(np.eye(5, dtype=bool).reshape(1, 5, 5, 1))
    assert shown["notes"] == ["Truth values: 1 is true."]
    assert_maps(shown, np.eye(5).reshape(5, 5, 1))


@pytest.mark.parametrize("dtype", ["U", "S", object])
def test_texts(dtype):
    texts = np.array([["ab", "<b>"], ["x", "y"]]).astype(dtype)
    shown = view(texts)
    assert shown["view"] == "tokens"
    assert shown["cells"] == ["ab", "<b>"]
    assert view(texts[:, :1].ravel())["cells"] == ["ab", "x"]
    assert view(texts[np.newaxis])["cells"] == ["ab", "<b>", "x", "y"]
    assert view(texts[np.newaxis])["notes"] == ["All axes in one row."]


def test_a_long_text_is_cut_and_bytes_are_decoded():
    long, odd = view(np.array([["a" * 99, b"\xc3\xa4\xff"]], object))["cells"]
    assert long == "a" * 59 + "…"
    assert odd == "ä\N{REPLACEMENT CHARACTER}"


# Odd values


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shape", [(1, 4, 6, 2), (1, 8, 6), (1, 30, 2), (1, 12), (1, 300)])
def test_values_that_are_not_finite_are_counted_and_left_out(shape, bad):
    array = normal(*shape)
    array.reshape(-1)[[0, 7, 11]] = bad
    shown = view(array)
    kind = "NaN" if np.isnan(bad) else "infinite"
    assert f"3 of {array.size:,} values are not finite (3 {kind})." in shown["notes"]
    if "picture" in shown:
        assert (colours(shown["picture"])[..., 3] == 0).sum() == 3
    if shown["view"] == "vector":
        assert [i for i, value in enumerate(shown["values"]) if value is None] == [0, 7, 11]
        assert shown["texts"][7] == str(bad)
    if shape == (1, 30, 2):
        assert sum(line["mean"].count(None) for line in shown["lines"]) == 3
    if shape == (1, 300):
        finite = array[np.isfinite(array)]
        assert shown["lines"][0]["range"] == pytest.approx([finite.min(), finite.max()])


def test_one_value_that_is_not_finite():
    assert view([[1.0, np.nan]])["notes"] == ["1 of 2 values is not finite (1 NaN)."]
    both = [[np.nan, np.inf, -np.inf, 1]]
    assert view(both)["notes"] == ["3 of 4 values are not finite (1 NaN, 2 infinite)."]


@pytest.mark.parametrize("shape", [(1, 4, 6, 2), (1, 8, 6), (1, 30, 2), (1, 12), (1, 300), (1, 1)])
@pytest.mark.parametrize("value", [0.5, 0.0, -1e308, np.nan])
def test_constant_arrays(shape, value):
    shown = view(np.full(shape, value))
    if np.isnan(value):
        assert "not finite" in shown["notes"][0]
        assert shown.get("range", [None, None]) == [None, None]
    elif shape != (1, 1):
        assert f"All values are {number(value)}." in shown["notes"]


@pytest.mark.parametrize(
    "shape", [(0, 7, 7, 3), (1, 7, 7, 0), (1, 0), (0,), (1, 0, 8), (2, 3, 0, 3)]
)
@pytest.mark.parametrize("dtype", ["float32", "int32", "U"])
def test_empty_arrays_say_so(shape, dtype):
    shown = view(np.zeros(shape, dtype))
    assert shown["view"] == "empty"
    assert shown["words"] == ("scalar" if len(shape) == 1 else "×".join(map(str, shape[1:])))


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_of_complex_numbers_the_magnitudes_are_drawn(dtype):
    array = (normal(1, 12) + 1j * normal(1, 12)[:, ::-1]).astype(dtype)
    shown = view(array)
    assert shown["values"] == pytest.approx(np.abs(array[0]))
    assert shown["notes"] == ["Complex numbers: their magnitudes are drawn."]


FLOATS = ["float16", "float32", "float64", "bfloat16", "float8_e4m3fn"]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(1, 4, 6, 2), (1, 8, 6), (1, 30, 2), (1, 12), (1, 300)])
def test_all_floats_are_drawn_as_float64_is(shape, dtype):
    array = normal(*shape).astype(getattr(ml_dtypes, dtype, dtype))
    assert view(array) == view(array.astype("float64"))
    wanted = statistics("", array.astype("float32"))[3:]
    assert statistics("", array)[3:] == wanted
    assert "" not in wanted


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "bool"])
def test_maps_of_integers(dtype):
    array = np.random.default_rng(1).integers(0, 2, (1, 5, 6, 3)).astype(dtype)
    assert_maps(view(array), array[0].astype(float))


def test_the_largest_numbers():
    largest = np.finfo("float64").max
    for shape in ((1, 2, 2, 1), (1, 2, 6), (1, 400), (1, 4)):
        array = np.full(shape, largest)
        array.reshape(-1)[::2] *= -1
        assert "not finite" not in " ".join(view(array)["notes"])


@pytest.mark.parametrize("rank", range(7))
@pytest.mark.parametrize("dtype", ["float32", "int32", "bool", "complex64", "U3"])
@pytest.mark.parametrize("channel_axis", [-1, 1])
def test_every_shape_has_a_view(rank, dtype, channel_axis):
    """All shapes of lengths 0, 1, 2 and 6 up to rank 4, and some beyond."""
    lengths = (0, 1, 2, 6) if rank < 5 else (1, 3)
    for shape in itertools.product(lengths, repeat=rank):
        shown = view(np.ones(shape, dtype), 0, channel_axis)
        assert shown["view"] in VIEWS
        assert (shown["view"] == "empty") == (0 in shape)
        assert shown["alt"]
        assert shown["words"]
        assert shown["first"] == 0
        assert shown["channels"] >= 1


# Statistics


def test_statistics():
    array = np.array([[0, 2, 4, 6]], "float32")
    assert statistics("Out", array) == ("Out", "4", "float32", "0", "3", "6", "25 %")
    assert statistics("Out", np.array([[True, False]]))[3:] == ("0", "0.5", "1", "50 %")
    assert statistics("Out", np.array([[1.0, np.nan]]))[3:] == ("nan", "nan", "nan", "0 %")
    assert statistics("Out", np.array(3.0))[1:4] == ("scalar", "float64", "3")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert statistics("Out", np.array([[np.inf, -np.inf]]))[3:] == ("-inf", "nan", "inf", "0 %")


@pytest.mark.parametrize(
    "array", [np.zeros((1, 0)), np.array([["a"]]), np.ones((1, 2), "complex64")]
)
def test_there_may_be_no_statistics(array):
    assert statistics("Out", array)[3:] == ("", "", "", "")


# Of a slice


def passed(model, values):
    part = section(anatomy(model))
    return result_views.forward_pass(part, build(model, part), values), part


@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_ids_that_a_model_masks_are_grey(dtype):
    x = keras.Input((4,), dtype=dtype, name="ids")
    y = keras.layers.LSTM(3)(keras.layers.Embedding(9, 2, mask_zero=True)(x))
    outcome, part = passed(keras.Model(x, y), {0: np.array([[5, 7, 0, 0]], dtype)})
    shown = result_views.drawn(outcome, part, "input", 0)
    assert shown["view"] == "tokens"
    assert shown["cells"] == ["5", "7", "0", "0"]
    assert shown["padded"] == [2, 3]
    output = result_views.drawn(outcome, part, "output", 0)
    assert output["values"] == pytest.approx(outcome.outputs[0][0])


def test_of_several_inputs_the_first_is_drawn_and_the_notes_say_so():
    x, y = keras.Input((4,), name="x"), keras.Input((4,), name="y")
    model = keras.Model([x, y], keras.layers.Add()([x, y]))
    outcome, part = passed(model, {0: np.ones((1, 4)), 1: np.zeros((1, 4))})
    assert result_views.drawn(outcome, part, "input", 0)["notes"][0] == "Input 1 of 2."
    assert result_views.drawn(outcome, part, "output", 0)["notes"] == ["All values are 1."]
