import inspect
import io
import warnings
from pathlib import Path
from types import ModuleType

import keras
import numpy as np
import pytest
from keras import layers
from matplotlib import colormaps
from PIL import Image
from skimage import color, data

import networks
from cutwidgets import CutwidgetsError, anatomy
from cutwidgets.graph.reader import read
from cutwidgets.inference import pictures
from cutwidgets.inference.images import pixels, preprocessing, takes_images
from cutwidgets.inference.inputs import random_input
from cutwidgets.inference.pictures import photo, sheet
from cutwidgets.panel.result_views import forward_pass as run
from cutwidgets.surgery.slicing import build, section

TOLERANCE = 3  # of a colour: a picture has 255 of the 256 colours of viridis

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def taking(*shape, name=None):
    """A model that takes inputs of a shape, and does next to nothing."""
    return keras.Sequential([keras.Input(shape), layers.Flatten()], name=name)


def flag(colours, across):
    """A picture 90 pixels along one axis and 30 along the other: three stripes."""
    array = np.zeros((30, 90, 3), "uint8")
    for stripe, colour in enumerate(colours):
        array[:, 30 * stripe : 30 * (stripe + 1)] = colour
    return Image.fromarray(array if across else array.transpose(1, 0, 2))


# Photographs


def test_the_photographs_are_those_of_scikit_image():
    """JPEG changes single pixels by some levels, and the mean of all hardly."""
    for name, original in (("Chelsea the cat", data.chelsea()), ("An astronaut", data.astronaut())):
        shipped = np.asarray(pictures.sample(name), "float64")
        assert shipped.shape == original.shape
        assert np.abs(shipped - original).mean() < 3
        assert abs(shipped.mean() - original.mean()) < 0.1
        file = Path(pictures.__file__).parent / "photos" / pictures.SAMPLES[name]
        assert file.stat().st_size < 60_000
    assert np.array_equal(np.asarray(photo()), np.asarray(pictures.sample("Chelsea the cat")))


def test_an_unknown_sample_is_an_error():
    with pytest.raises(CutwidgetsError, match="no sample photograph 'A rocket'.*Chelsea the cat"):
        pictures.sample("A rocket")


def test_a_photograph_from_a_file(tmp_path):
    wanted = np.random.default_rng(0).integers(0, 256, (9, 7, 3), "uint8")
    Image.fromarray(wanted).save(tmp_path / "noise.png")
    assert np.array_equal(np.asarray(photo(tmp_path / "noise.png")), wanted)
    assert np.array_equal(np.asarray(photo(str(tmp_path / "noise.png"))), wanted)


@pytest.mark.parametrize("kind", ["uint8", "int64", "float32", "float 0 to 1"])
@pytest.mark.parametrize("channels", [None, 1, 3, 4])
def test_a_photograph_from_an_array(kind, channels):
    shape = (6, 5) if channels is None else (6, 5, channels)
    whole = np.random.default_rng(1).integers(0, 256, shape)
    given = (whole / 255).astype("float32") if kind == "float 0 to 1" else whole.astype(kind)
    before = given.copy()
    colour = whole[..., :3] if channels in (3, 4) else np.repeat(whole.reshape(6, 5, 1), 3, axis=2)
    if channels == 4:
        assert np.abs(seen(given) - upon_white(colour, whole[..., 3])).max() <= 1
    else:
        assert np.array_equal(np.asarray(photo(given)), colour)
    assert np.array_equal(given, before)


def test_values_between_two_levels_are_rounded():
    assert np.asarray(photo(np.full((2, 2), 0.999))).min() == 255


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_any_mode_of_an_image_becomes_rgb(mode):
    assert photo(Image.new(mode, (3, 2))).mode == "RGB"


@pytest.mark.parametrize(
    "source",
    [
        3,
        [1, 2],
        b"no such file",
        "no such file",
        np.zeros((4, 4, 2)),
        np.zeros((1, 4, 4, 3)),
        np.zeros(5),
        np.full((4, 4), np.nan),
        np.full((4, 4, 3), -1),
        np.full((4, 4, 3), 256),
        np.full((2, 2), None),
        np.array("text"),
    ],
)
def test_what_is_no_photograph_is_an_error(source):
    with pytest.raises(CutwidgetsError, match="Cannot read a photograph from"):
        photo(source)


def test_files_that_are_no_pictures_are_errors(tmp_path):
    (tmp_path / "text.png").write_text("not a picture")
    whole = tmp_path / "whole.jpg"
    photo().save(whole)
    (tmp_path / "half.jpg").write_bytes(whole.read_bytes()[:2000])
    for name in ("text.png", "half.jpg", "."):
        with pytest.raises(CutwidgetsError, match="Cannot read a photograph"):
            photo(tmp_path / name)


def test_a_file_too_large_to_open_is_an_error(tmp_path, monkeypatch):
    photo().save(tmp_path / "cat.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(CutwidgetsError, match="too large"):
        photo(tmp_path / "cat.png")


def test_pictures_of_phones_stand_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # To be turned by 90 degrees.
    Image.new("RGB", (40, 20)).save(tmp_path / "phone.jpg", exif=exif)
    assert photo(tmp_path / "phone.jpg").size == (20, 40)


def test_an_empty_array_is_an_error():
    with pytest.raises(CutwidgetsError):
        photo(np.zeros((0, 4, 3)))


def test_a_mask_is_black_and_white():
    assert np.asarray(photo(np.ones((2, 2), bool))).min() == 255


# What a person sees


def seen(image):
    return np.asarray(photo(image), "float64")


def noise(*shape, high=256, dtype="uint8"):
    return np.random.default_rng(3).integers(0, high, shape).astype(dtype)


def upon_white(colours, alpha):
    alpha = alpha[..., np.newaxis] / 255
    return colours * alpha + 255 * (1 - alpha)


def grey(values):
    return np.repeat(np.asarray(values, "float64")[..., np.newaxis], 3, axis=-1)


def of_mode(mode):
    """An image of a mode of Pillow, and the colours that a person sees, by NumPy alone."""
    shape = (9, 7)
    if mode == "1":
        bits = noise(*shape, high=2) > 0
        return Image.fromarray(bits), grey(255.0 * bits)
    if mode == "L":
        levels = noise(*shape)
        return Image.fromarray(levels), grey(levels)
    if mode.startswith("I;16"):
        levels = noise(*shape, high=65536, dtype="uint16")
        order = {"I;16B": ">u2", "I;16N": "=u2"}.get(mode, "<u2")
        image = Image.frombytes(mode, shape[::-1], levels.astype(order).tobytes())
        return image, grey(levels / 257)
    if mode == "I":
        levels = noise(*shape, high=65536, dtype="int32")
        return Image.frombytes("I", shape[::-1], levels.tobytes()), grey(levels / 257)
    if mode == "F":
        levels = noise(*shape).astype("float32") / 255
        return Image.frombytes("F", shape[::-1], levels.tobytes()), grey(255.0 * levels)
    if mode in ("P", "PA"):
        palette, chosen = noise(256, 3), noise(*shape)
        alpha = noise(*shape) if mode == "PA" else np.full(shape, 255)
        bands = chosen if mode == "P" else np.stack([chosen, alpha], -1)
        image = Image.frombytes(mode, shape[::-1], bands.astype("uint8").tobytes())
        image.putpalette(palette.tobytes())
        return image, upon_white(palette[chosen], alpha)
    bands = noise(*shape, len(Image.new(mode, (1, 1)).getbands()))
    if mode in ("La", "RGBa"):  # colours multiplied by their opacity before
        bands[..., :-1] = np.minimum(bands[..., :-1], bands[..., -1:])
    image = Image.frombytes(mode, shape[::-1], bands.tobytes())
    values = bands.astype("float64")
    first = values[..., :3]
    if mode in ("LA", "RGBA"):
        colours = grey(values[..., 0]) if mode == "LA" else first
        return image, upon_white(colours, values[..., -1])
    if mode in ("La", "RGBa"):
        colours = grey(values[..., 0]) if mode == "La" else first
        return image, colours + 255 - values[..., -1:]
    if mode == "CMYK":
        return image, (255 - first) * (255 - values[..., 3:]) / 255
    if mode == "HSV":
        return image, 255 * color.hsv2rgb(first / 255)
    if mode == "YCbCr":
        y, blue, red = first[..., 0], first[..., 1] - 128, first[..., 2] - 128
        rgb = [y + 1.402 * red, y - 0.344136 * blue - 0.714136 * red, y + 1.772 * blue]
        return image, np.clip(np.stack(rgb, -1), 0, 255)
    if mode == "LAB":  # a and b are signed bytes; colours near grey, which every screen shows
        bands = np.stack([noise(*shape), *(noise(2, *shape, high=20) - 10)], -1).astype("uint8")
        image = Image.frombytes("LAB", shape[::-1], bands.tobytes())
        lab = np.concatenate([bands[..., :1] / 2.55, bands[..., 1:].view("int8")], -1)
        return image, 255 * color.lab2rgb(lab)
    assert mode in ("RGB", "RGBX"), f"no colours are known for the mode {mode}"
    return image, first


@pytest.mark.parametrize("mode", Image.MODES)
def test_every_mode_of_pillow_is_shown_as_a_person_sees_it(mode):
    image, wanted = of_mode(mode)
    before = image.tobytes()
    # Pillow rounds in between; hues and Lab have steps of several levels.
    allowed = {"HSV": 6, "LAB": 4}.get(mode, 2)
    assert np.abs(seen(image) - wanted).max() <= allowed
    assert image.tobytes() == before


@pytest.mark.parametrize("name", ["16.png", "16.tif", "16.pgm", "dark.png"])
def test_grey_of_16_bits_in_files_is_scaled(tmp_path, name):
    levels = noise(9, 7, high=200 if name == "dark.png" else 65536, dtype="uint16")
    Image.frombytes("I;16", (7, 9), levels.tobytes()).save(tmp_path / name)
    assert np.abs(seen(tmp_path / name) - grey(levels / 257)).max() <= 0.51


@pytest.mark.parametrize("scale", [1, 255])
def test_floats_in_files(tmp_path, scale):
    levels = np.linspace(0, scale, 63, dtype="float32").reshape(9, 7)
    Image.fromarray(levels).save(tmp_path / "float.tif")
    assert np.abs(seen(tmp_path / "float.tif") - grey(levels * (255 / scale))).max() <= 0.51


@pytest.mark.parametrize("bad", [-1, 256, 1e9, np.nan, np.inf])
@pytest.mark.parametrize("mode", ["F", "I"])
def test_values_of_no_known_range_are_an_error(bad, mode):
    if mode == "I" and not np.isfinite(bad):
        return
    bad = 70_000 if mode == "I" and bad == 256 else bad
    levels = np.array([[0, 1], [2, bad]], "float32" if mode == "F" else "int32")
    with pytest.raises(CutwidgetsError, match="values are not between 0 and"):
        photo(Image.frombytes(mode, (2, 2), levels.tobytes()))


def test_a_palette_with_a_clear_colour_and_a_clear_grey_lie_upon_white(tmp_path):
    image = Image.frombytes("P", (3, 1), bytes([0, 1, 2]))
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.save(tmp_path / "palette.png", transparency=1)
    image.save(tmp_path / "palette.gif", transparency=1)
    for name in ("palette.png", "palette.gif"):
        assert seen(tmp_path / name)[0].tolist() == [[10, 20, 30], [255] * 3, [70, 80, 90]]
    Image.frombytes("L", (3, 1), bytes([0, 1, 2])).save(tmp_path / "l.png", transparency=1)
    assert seen(tmp_path / "l.png")[0, :, 0].tolist() == [0, 255, 2]
    grey16 = Image.frombytes("I;16", (3, 1), np.array([0, 300, 65535], "<u2").tobytes())
    grey16.info["transparency"] = 300
    assert seen(grey16)[0, :, 0].tolist() == [0, 255, 255]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "I;16", "RGBA"])
def test_every_orientation_of_a_camera(tmp_path, orientation, mode):
    image, wanted = of_mode(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "held.png", exif=exif)
    turned = {
        1: wanted, 2: wanted[:, ::-1], 3: wanted[::-1, ::-1], 4: wanted[::-1],
        5: wanted.swapaxes(0, 1), 6: np.rot90(wanted, -1), 7: np.rot90(wanted, 2).swapaxes(0, 1),
        8: np.rot90(wanted),
    }[orientation]  # fmt: skip
    assert np.abs(seen(tmp_path / "held.png") - turned).max() <= 1


def test_of_an_animation_the_first_picture_is_taken(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED, GREEN, BLUE)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    assert (seen(tmp_path / "moving.gif") == RED).all()


@pytest.mark.parametrize("bits", [12, 16])
def test_a_tiff_says_how_many_bits_it_has_and_what_is_white(bits):
    levels = noise(9, 7, high=2**bits, dtype="uint16")
    for photometric in (0, 1):
        image = Image.frombytes("I;16", (7, 9), levels.tobytes())
        image.tag_v2 = {258: (bits,), 262: photometric}
        wanted = grey(levels * (255 / (2**bits - 1)))
        got = grey(pictures._grey(image))
        assert np.abs(got - (wanted if photometric else 255 - wanted)).max() <= 0.51


# Pixels


@pytest.mark.parametrize("across", [True, False])
def test_the_centre_is_cropped(across):
    array = pixels(read(taking(16, 16, 3)), flag([RED, GREEN, BLUE], across))
    assert array.shape == (1, 16, 16, 3)
    assert array.dtype == np.float32
    # At the very edge, smoothing sees a little of what was cropped.
    assert np.abs(array - GREEN).max() <= 25
    assert np.array_equal(array[:, 1:-1, 1:-1], np.broadcast_to(GREEN, (1, 14, 14, 3)))


def test_the_crop_has_the_shape_of_the_model():
    array = pixels(read(taking(10, 30, 3)), flag([RED, GREEN, BLUE], across=True))
    assert array.shape == (1, 10, 30, 3)
    for stripe, colour in enumerate([RED, GREEN, BLUE]):
        assert np.abs(array[0, :, 10 * stripe + 5] - colour).max() <= 2


def test_shrinking_averages():
    board = Image.fromarray(np.indices((512, 512)).sum(axis=0).astype("uint8") % 2 * 255)
    array = pixels(read(taking(8, 8, 3)), board.convert("RGB"))
    assert np.abs(array - 127.5).max() < 2


def test_one_channel_is_the_brightness():
    array = pixels(read(taking(4, 4, 1)), Image.new("RGB", (9, 9), GREEN))
    assert array.shape == (1, 4, 4, 1)
    assert np.abs(array - 0.587 * 255).max() <= 1  # The luma of ITU-R 601.


def test_sizes_that_are_not_fixed_are_those_of_imagenet():
    free = keras.Sequential([keras.Input((None, None, 3)), layers.GlobalMaxPooling2D()])
    assert pixels(read(free), photo()).shape == (1, 224, 224, 3)


def test_channels_first():
    x = keras.Input((3, 10, 30))
    first = keras.Model(x, layers.GlobalMaxPooling2D(data_format="channels_first")(x))
    array = pixels(read(first), photo())
    assert array.shape == (1, 3, 10, 30)
    assert np.array_equal(np.moveaxis(array, 1, -1), pixels(read(taking(10, 30, 3)), photo()))


@pytest.mark.parametrize("shape", [(5,), (7, 3), (8, 8, 2), (8, 8, 8, 3)])
def test_models_that_take_no_images_say_so(shape):
    graph = read(taking(*shape))
    assert not takes_images(graph)
    with pytest.raises(CutwidgetsError, match="takes no photographs"):
        pixels(graph, photo())


def test_two_images_are_no_image():
    both = [keras.Input((8, 8, 3)), keras.Input((8, 8, 3))]
    assert not takes_images(read(keras.Model(both, layers.Add()(both))))


# Preprocessing


def applications():
    """The functions of keras.applications that build a network of a fixed name."""
    for build_it in vars(keras.applications).values():
        if inspect.isfunction(build_it):
            name = inspect.signature(build_it).parameters["name"].default
            if name and not name.startswith("MobileNetV3"):  # It rescales by itself.
                yield pytest.param(build_it, name, id=name)


def preprocess_of(build_it):
    """The module of keras.applications for the source file that a function stands in."""
    own = build_it.__module__.rpartition(".")[2]
    module = getattr(keras.applications, own)
    assert isinstance(module, ModuleType)
    return own, module.preprocess_input


@pytest.mark.parametrize(("build_it", "name"), list(applications()))
def test_networks_of_keras_applications_are_told_by_their_names(build_it, name):
    own, function = preprocess_of(build_it)
    found = preprocessing(read(taking(4, 4, 3, name=name)))
    assert found.name == f"keras.applications.{own}.preprocess_input"
    array = np.random.default_rng(2).uniform(0, 255, (1, 4, 4, 3)).astype("float32")
    assert np.array_equal(found.function(array), function(array.copy()))


@pytest.mark.parametrize(
    "name", ["ResNet50", "ResNet50V2", "VGG16", "MobileNet", "MobileNetV2", "DenseNet121"]
)
def test_the_function_of_a_network(name):
    build_it = getattr(keras.applications, name)
    _, function = preprocess_of(build_it)
    found = preprocessing(read(networks.application(name)))
    array = np.random.default_rng(3).uniform(0, 255, (1, 64, 64, 3)).astype("float32")
    before = array.copy()
    assert np.array_equal(found.function(array), function(array.copy()))
    assert np.array_equal(array, before)  # Keras's own functions work in place.


@pytest.mark.parametrize("name", ["EfficientNetB0", "MobileNetV3Small"])
def test_networks_that_rescale_by_themselves_get_pixels(name):
    found = preprocessing(read(networks.application(name)))
    assert found.name.startswith("none")
    array = np.random.default_rng(4).uniform(0, 255, (1, 4, 4, 3))
    assert np.array_equal(found.function(array), array)


def test_a_rescaling_behind_the_first_weights_is_none_of_the_input():
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Conv2D(2, 3), layers.Rescaling(0.5), layers.Flatten()]
    )
    assert "0–1" in preprocessing(read(model)).name


def test_other_networks_get_pixels_from_0_to_1_and_are_told():
    found = preprocessing(read(taking(4, 4, 3, name="my_own")))
    assert "a guess" in found.name
    assert np.array_equal(found.function(np.array([0.0, 51.0, 255.0])), [0, 0.2, 1])


def test_the_users_own_function_comes_first():
    def halve(array):
        return array / 2

    found = preprocessing(read(networks.application("ResNet50")), halve)
    assert found.name == "halve"
    assert found.function is halve


# Random input


def test_random_input_fits_shapes_and_dtypes():
    inputs = [
        keras.Input((None, 3)),
        keras.Input((None, None, 1)),
        keras.Input((4,), dtype="int32"),
        keras.Input((4,), dtype="bool"),
        keras.Input((4,), batch_size=5),
    ]
    outputs = [layers.Flatten()(layers.Identity()(x)) for x in inputs[2:]]
    graph = read(keras.Model(inputs, [inputs[0], inputs[1], *outputs]))
    values = random_input(graph, seed=0)
    arrays = [values[index] for index in graph.inputs]
    assert [x.shape for x in arrays] == [(2, 16, 3), (2, 64, 64, 1), (2, 4), (2, 4), (5, 4)]
    assert [x.dtype.name for x in arrays] == ["float32", "float32", "int32", "bool", "float32"]

    again = random_input(graph, seed=0)
    other = random_input(graph, seed=1, like=values)
    assert all(np.array_equal(values[i], again[i]) for i in values)
    assert all(values[i].shape == other[i].shape for i in values)
    assert not np.array_equal(values[graph.inputs[0]], other[graph.inputs[0]])


# The forward pass


def sliced(model, start, end):
    part = section(anatomy(model), start, end)
    return part, build(model, part)


@pytest.mark.parametrize("start", [None, "conv3_block1"])
def test_a_slice_computes_what_the_network_computes(start):
    model = networks.application("ResNet50")
    values = networks.images(model, batch=1)
    names = ["conv2_block3_out", "conv4_block6_out"]
    probe = keras.Model(model.input, [model.get_layer(name).output for name in names])
    before, after = (x.numpy() for x in probe(values, training=False))

    part, smaller = sliced(model, start, "conv4_block6")
    outcome = run(part, smaller, {part.graph.inputs[0]: values})
    np.testing.assert_allclose(outcome.inputs[0], values if start is None else before, rtol=1e-6)
    np.testing.assert_allclose(outcome.outputs[0], after, rtol=1e-5, atol=1e-5 * after.max())
    assert np.ptp(after) > 0
    assert 0 < outcome.seconds < 60


def test_a_forward_pass_changes_no_statistics_and_drops_nothing():
    x = keras.Input((6,), name="x")
    y = layers.Dropout(0.5)(layers.BatchNormalization(name="norm")(x))
    model = keras.Model(x, layers.Dense(2, name="dense")(y))
    weights = [np.copy(w) for w in model.get_weights()]
    part, whole = sliced(model, None, None)
    values = {part.graph.inputs[0]: np.random.default_rng(5).normal(size=(4, 6))}
    first, second = (run(part, whole, values).outputs[0] for _ in range(2))
    assert np.array_equal(first, second)
    assert all(map(np.array_equal, weights, model.get_weights()))


def test_an_input_that_does_not_fit_is_an_error():
    model = networks.application("ResNet50")
    part, smaller = sliced(model, "conv3", "conv3")
    with pytest.raises(CutwidgetsError, match="cannot run on this input"):
        run(part, smaller, {part.graph.inputs[0]: np.zeros((1, 64, 64, 5), "float32")})


# Pictures of maps


def picture(maps, columns=8, scales=None):
    """The picture as an array (height, width, 4)."""
    maps = np.asarray(maps)
    if scales is None:
        scales = np.array([[one.min(), one.max()] for one in maps])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        png = sheet(maps, np.asarray(scales), columns)
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))


def viridis(levels):
    return colormaps["viridis"](levels, bytes=True).astype(int)


def test_the_palette_is_viridis():
    colours = np.frombuffer(pictures._palette(), "uint8").reshape(-1, 3)
    wanted = colormaps["viridis"](np.linspace(0, 1, 255), bytes=True)[:, :3]
    assert np.array_equal(colours[:-1], wanted)


@pytest.mark.parametrize("columns", [1, 3, 5, 8])
def test_each_map_is_a_tile_in_the_order_of_the_maps(columns):
    maps = np.random.default_rng(6).normal(size=(5, 3, 4))
    array = picture(maps, columns)
    columns = min(columns, 5)
    assert array.shape == (-(-5 // columns) * 3, columns * 4, 4)
    for i, one in enumerate(maps):
        top, left = 3 * (i // columns), 4 * (i % columns)
        tile = array[top : top + 3, left : left + 4].astype(int)
        assert np.abs(tile - viridis((one - one.min()) / np.ptp(one))).max() <= TOLERANCE
    assert (array[..., 3] > 0).sum() == maps.size


def test_a_scale_maps_its_ends_to_the_ends_of_viridis():
    ramp = np.linspace(-3, 5, 6).reshape(1, 1, 6)
    wanted = viridis((ramp[0] + 10) / 30)
    assert np.abs(picture(ramp, scales=[[-10, 20]]).astype(int) - wanted).max() <= TOLERANCE


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_holes(bad):
    maps = np.arange(32.0).reshape(2, 4, 4)
    maps[0, 1, 2] = bad
    array = picture(maps, scales=[[0, 15], [16, 31]])
    assert np.argwhere(array[..., 3] == 0).tolist() == [[1, 2]]


@pytest.mark.parametrize("value", [0, -4.5, 1e308, np.nan])
def test_constant_maps_are_of_one_colour(value):
    assert len(np.unique(picture(np.full((1, 5, 5), value)).reshape(-1, 4), axis=0)) == 1


def test_the_range_may_be_larger_than_a_float():
    largest = np.finfo("float64").max
    array = picture([[[-largest, 0, largest]]])
    assert np.abs(array[0].astype(int) - viridis([0.0, 0.5, 1.0])).max() <= TOLERANCE
