"""The page draws tensors as they are: pixels, lines, bars and numbers, compared with the arrays."""

import re

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from matplotlib import colormaps
from tensorpage import STATIC, TensorPage, data_of, script

from cutwidgets.inference import pictures

TOLERANCE = 3  # of a colour: a picture has 255 of the 256 colours of viridis


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape)


def viridis(values):
    low, high = values.min(), values.max()
    return colormaps["viridis"]((values - low) / (high - low), bytes=True).astype(int)


def drawn_channels(at, view=0):
    canvases = at.figure(view).locator(".cw-tile canvas")
    return [at.pixels(canvases.nth(i)) for i in range(canvases.count())]


def assert_channels(at, images):
    drawn = drawn_channels(at)
    assert len(drawn) == images.shape[-1]
    for pixels, image in zip(drawn, np.moveaxis(images, -1, 0), strict=True):
        assert np.abs(pixels - viridis(image)).max() <= TOLERANCE


def box(locator):
    found = locator.bounding_box()
    return found["x"], found["y"], found["width"], found["height"]


def test_the_colour_bar_is_viridis():
    colours = re.findall(r'"#(\w{6})"', (STATIC / "colours.js").read_text("utf-8").split("]")[0])
    palette = np.frombuffer(pictures._palette(), "uint8").reshape(-1, 3)[:-1]
    wanted = palette[np.linspace(0, len(palette) - 1, len(colours)).round().astype(int)]
    assert len(colours) == 8
    for colour, true in zip(colours, wanted, strict=True):
        np.testing.assert_allclose([*bytes.fromhex(colour)], true, atol=2)


def test_names_of_the_module_are_its_own():
    names = re.findall(r"^(?:async )?(?:function|const|let|class) (\w+)", script(), re.M)
    assert len(names) == len(set(names))


# Maps


@pytest.mark.parametrize("shape", [(1, 5, 7, 3), (2, 6, 6, 32), (1, 3, 40, 12), (1, 4, 4, 1)])
def test_each_map_is_drawn_pixel_by_pixel(page, shape):
    array = normal(*shape)
    at = TensorPage(page, data_of(array))
    if shape[1:3] != (4, 4):
        assert_channels(at, array[0])
    assert at.figure().locator("input").is_hidden()
    label = at.figure().locator(".cw-tile").last.get_attribute("aria-label")
    low, high = array[0, ..., -1].min(), array[0, ..., -1].max()
    found = re.fullmatch(rf"Channel {shape[-1]}: (\S+) to (\S+)\. Enlarge\.", label)
    assert [float(text) for text in found.groups()] == pytest.approx([low, high], rel=0.01)


def test_the_slider_asks_for_channels_and_an_update_draws_them_in_place(page):
    array = normal(1, 5, 5, 80)
    at = TensorPage(page, data_of(array), which="input")
    assert_channels(at, array[0, ..., :32])
    slider = at.page.locator("[data-part=channels-input]")
    assert slider.get_attribute("aria-label") == "Slice input: first channel"
    slider.focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    assert page.evaluate("window.slides") == [1, 2, 3, 4, 5]
    page.evaluate("() => { window.tile = document.querySelector('.cw-tile'); }")
    at.update(data_of(array, first=5))
    page.wait_for_selector(".cw-tiles[data-drawn='5']")
    assert_channels(at, array[0, ..., 5:37])
    assert "channels 6 to 37 of 80" in at.figure().locator("figcaption").text_content()
    assert at.figure().locator(".cw-tile span").first.text_content() == "6"
    assert page.evaluate("document.activeElement.dataset.part") == "channels-input"
    assert page.evaluate("window.tile.isConnected")


def test_the_latest_update_wins(page):
    array = normal(1, 5, 5, 80)
    at = TensorPage(page, data_of(array))
    for first in (40, 3, 20):
        at.update(data_of(array, first=first))
    page.wait_for_selector(".cw-tiles[data-drawn='20']")
    page.wait_for_timeout(200)
    assert_channels(at, array[0, ..., 20:52])


def test_an_update_may_be_of_another_kind(page):
    at = TensorPage(page, data_of(normal(1, 5, 5, 80)))
    at.update(data_of(normal(1, 4)))
    assert at.figure().locator(".cw-bars").is_visible()
    assert at.figure().locator("input").is_hidden()
    at.update(data_of(normal(1, 6, 6, 80)))
    at.wait()
    assert at.figure().locator(".cw-tile").count() == 32
    assert at.figure().locator("input").is_visible()


def test_without_a_kernel_there_is_no_other_channel(page):
    at = TensorPage(page, data_of(normal(1, 5, 5, 80)), offline=True)
    assert at.figure().locator("input").is_disabled()


@pytest.mark.parametrize("way", ["click", "Enter"])
@pytest.mark.parametrize("leave", ["Escape", "click", "button"])
def test_a_map_is_enlarged_and_closed(page, way, leave):
    array = normal(1, 12, 20, 40)
    at = TensorPage(page, data_of(array, first=3))
    tile = at.figure().locator(".cw-tile").nth(2)
    if way == "click":
        tile.click()
    else:
        tile.focus()
        page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    assert "channel 6 of 40" in dialog.text_content()
    assert "[0, :, :, 5]" in dialog.text_content()
    assert (
        np.abs(at.pixels(dialog.locator("canvas")) - viridis(array[0, ..., 5])).max() <= TOLERANCE
    )
    texts = dialog.locator(".cw-colour-texts span").all_text_contents()
    low, high = array[..., 5].min(), array[..., 5].max()
    assert [float(text) for text in texts] == pytest.approx([low, (low + high) / 2, high], rel=0.01)
    assert dialog.locator(".cw-x-axis span").all_text_contents() == ["0", "5", "10", "15"]
    assert dialog.locator(".cw-y-axis span").all_text_contents() == ["0", "2", "4", "6", "8", "10"]
    assert box(dialog.locator("canvas"))[2] > 3 * box(tile)[2]
    if leave == "Escape":
        page.keyboard.press("Escape")
    elif leave == "button":
        dialog.get_by_role("button").click()
    else:
        dialog.locator("canvas").click()
    dialog.wait_for(state="detached")
    assert tile.evaluate("tile => document.activeElement === tile")
    assert page.get_by_role("dialog").count() == 0


def test_an_enlarged_map_fits_into_the_window(page):
    page.set_viewport_size({"width": 700, "height": 480})
    at = TensorPage(page, *(data_of(normal(*shape)) for shape in
                            ((1, 224, 224, 3), (1, 300, 3, 3), (1, 3, 300, 3))))  # fmt: skip
    for view in range(3):
        at.figure(view).locator(".cw-tile").first.click()
        left, top, width, height = box(page.get_by_role("dialog"))
        assert left >= 0
        assert top >= 0
        assert left + width <= 700
        assert top + height <= 480
        scrolls = "one => one.scrollHeight > one.clientHeight || one.scrollWidth > one.clientWidth"
        assert not page.get_by_role("dialog").evaluate(scrolls)
        page.keyboard.press("Escape")


def test_a_tick_is_at_its_pixel(page):
    at = TensorPage(page, data_of(normal(1, 12, 20, 3)))
    at.figure().locator(".cw-tile").first.click()
    dialog = page.get_by_role("dialog")
    left, top, width, height = box(dialog.locator("canvas"))
    for axis, start, length, count in (("x", left, width, 20), ("y", top, height, 12)):
        for tick in dialog.locator(f".cw-{axis}-axis span").all():
            x, y, w, h = box(tick)
            middle = x + w / 2 if axis == "x" else y + h / 2
            pixel = int(tick.text_content())
            assert middle == pytest.approx(start + length * (pixel + 0.5) / count, abs=1)


def test_holes_are_hatched(page):
    array = normal(1, 4, 4, 2)
    array[0, 1, 2, 0] = np.nan
    at = TensorPage(page, data_of(array))
    first, second = drawn_channels(at)
    assert np.argwhere(first[..., 3] == 0).tolist() == [[1, 2]]
    assert (second[..., 3] == 255).all()
    background = (
        at.figure().locator("canvas").first.evaluate("one => getComputedStyle(one).backgroundImage")
    )
    assert "repeating-linear-gradient" in background
    assert "1 of 32 values is not finite" in at.figure().text_content().replace(" are ", " is ")


# Sequences and signals


@pytest.mark.parametrize("shape", [(1, 512, 16), (1, 5, 300), (1, 3, 5)])
def test_a_sequence_is_drawn_and_readable_whatever_its_shape(page, shape):
    array = normal(*shape)
    at = TensorPage(page, data_of(array))
    canvas = at.figure().locator("canvas")
    assert np.abs(at.pixels(canvas) - viridis(array[0].T)).max() <= TOLERANCE
    _, _, width, height = box(canvas)
    assert width > 400
    assert height >= 100
    for axis, length in (("x", shape[1]), ("y", shape[2])):
        ticks = at.figure().locator(f".cw-{axis}-axis span").all_text_contents()
        assert 3 <= len(ticks) <= 8
        assert int(ticks[0]) == 0
        assert length / 2 <= int(ticks[-1]) < length
    assert at.figure().locator(".cw-x-label").text_content() == "position"
    assert at.figure().locator(".cw-y-label").text_content() == "feature"
    texts = at.figure().locator(".cw-colour-texts span").all_text_contents()
    assert [float(texts[0]), float(texts[-1])] == pytest.approx(
        [array.min(), array.max()], rel=0.01
    )


def points_of(path):
    return np.array(re.findall(r"([-\d.e]+) ([-\d.e]+)", path.get_attribute("d")), float)


@pytest.mark.parametrize("array", [normal(1, 60, 3), normal(1, 100), -5 - normal(1, 30) ** 2])
def test_a_line_goes_through_the_values(page, array):
    at = TensorPage(page, data_of(array))
    columns = array[0].reshape(len(array[0]), -1).T
    lines = at.figure().locator(".cw-line")
    assert lines.count() == len(columns)
    for line, values in zip(lines.all(), columns, strict=True):
        x, y = points_of(line).T
        assert x == pytest.approx(np.arange(len(values)) + 0.5)
        wanted = 100 * (values.max() - values) / np.ptp(values)
        assert y == pytest.approx(wanted, abs=1e-6)


def test_the_ticks_of_a_line_are_at_their_values(page):
    array = normal(1, 50)
    at = TensorPage(page, data_of(array))
    _, top, _, height = box(at.figure().locator("svg"))
    ticks = at.figure().locator(".cw-y-axis span").all()
    assert 3 <= len(ticks) <= 6
    for tick in ticks:
        _, y, _, h = box(tick)
        place = (array.max() - float(tick.text_content())) / np.ptp(array)
        assert y + h / 2 == pytest.approx(top + place * height, abs=1.5)


def test_gaps_stay_gaps_and_a_number_between_them_is_a_dot(page):
    array = normal(1, 40)
    array[0, [5, 10, 12]] = np.nan
    at = TensorPage(page, data_of(array))
    lines = at.figure().locator(".cw-line")
    assert [len(points_of(line)) for line in lines.all()] == [5, 4, 1, 27]
    assert at.figure().locator(".cw-dot").count() == 1


def test_a_long_line_has_a_band_and_says_its_numbers(page):
    array = normal(1, 5000)
    at = TensorPage(page, data_of(array))
    x, y = points_of(at.figure().locator(".cw-band")).T
    assert len(x) == 512
    assert y.min() == pytest.approx(0, abs=1e-6)
    assert y.max() == pytest.approx(100, abs=1e-6)
    found = re.search(
        r"min (\S+), mean (\S+), max (\S+)", at.figure().locator("p").first.text_content()
    )
    numbers = [float(text) for text in found.groups()]
    assert numbers == pytest.approx([array.min(), array.mean(), array.max()], rel=0.01)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([1000.0001, 1000.0002] * 15, "min 1,000.0001, mean 1,000.00015, max 1,000.0002"),
        ([-1e-7, 3e-7] * 15, "min -1e-7, mean 1e-7, max 3e-7"),
        ([0, 2.5e9] * 15, "min 0, mean 1.25e9, max 2.5e9"),
        ([-3, 5] * 15, "min -3, mean 1, max 5"),
        ([0.5] * 30, "all 0.5"),
        ([np.nan] * 30, "no finite value"),
    ],
)
def test_numbers_are_short_but_tell_apart(page, values, text):
    at = TensorPage(page, data_of(np.array([values], float)))
    assert at.figure().locator(".cw-line-title").text_content().strip() == text


@pytest.mark.parametrize("ends", [(0, 1), (-3e8, 1e8), (1e6, 1e6 + 3), (0, 4e-9), (-1, 0), (7, 7)])
def test_ticks_differ_and_are_where_they_say(page, ends):
    at = TensorPage(page, data_of(np.array([[*ends] * 15], float)))
    texts = at.figure().locator(".cw-y-axis span").all_text_contents()
    numbers = [float(text.replace(",", "")) for text in texts]
    assert len(set(numbers)) == len(numbers) >= 2
    steps = np.diff(numbers)
    assert steps == pytest.approx(steps[0], rel=1e-6)


# Vectors and cells


@pytest.mark.parametrize(
    "values", [normal(10), -np.arange(1.0, 5), np.arange(20.0), [0.25], [0.0, 0.0], [3e300, -1e300]]
)
def test_bars_begin_at_zero_and_end_at_the_value(page, values):
    values = np.asarray(values)
    at = TensorPage(page, data_of(values[np.newaxis]))
    low, high = min(0, values.min()), max(0, values.max())
    bars = at.figure().locator(".cw-filled").all()
    tracks = at.figure().locator(".cw-track").all()
    zeros = at.figure().locator(".cw-zero").all()
    assert len(bars) == len(zeros) == len(values)
    for bar, track, zero, value in zip(bars, tracks, zeros, values, strict=False):
        left, _, width, _ = box(track)
        start, _, length, _ = box(bar)
        if high > low:
            assert length == pytest.approx(width * (abs(value) / (high - low)), abs=0.6)
            origin = left + width * (-low / (high - low))
            assert box(zero)[0] == pytest.approx(origin, abs=0.6)
            assert (start if value >= 0 else start + length) == pytest.approx(origin, abs=0.6)
    numbers = at.figure().locator(".cw-number").all_text_contents()[1:]
    shown = [float(text.replace(",", "")) for text in numbers]
    assert shown == pytest.approx(values, rel=0.01)


def test_a_number_that_is_not_finite_is_written_and_hatched(page):
    at = TensorPage(page, data_of([[1.0, np.nan, -np.inf]]))
    assert at.figure().locator(".cw-number").all_text_contents()[1:] == ["1", "nan", "-inf"]
    assert at.figure().locator(".cw-hole").count() == 2


def test_token_ids_are_in_cells_and_padding_is_grey(page):
    at = TensorPage(page, data_of(np.array([[7, 30000, 0, 0]]), padding=True))
    cells = at.figure().locator("li > span")
    assert cells.all_text_contents() == ["7", "30000", "0", "0"]
    assert at.figure().locator("li > small").all_text_contents() == ["0", "1", "2", "3"]
    assert at.figure().locator(".cw-padded").count() == 2
    colours = cells.evaluate_all("all => all.map(one => getComputedStyle(one).color)")
    assert colours[0] == colours[1] != colours[2] == colours[3]


def test_texts_are_never_markup(page):
    at = TensorPage(page, data_of(np.array([["<img src=x onerror=alert(1)>", "b"]])))
    assert at.figure().locator("img").count() == 0
    assert at.figure().locator("li > span").first.text_content().startswith("<img")


def test_no_value_at_all(page):
    at = TensorPage(page, data_of(np.zeros((1, 0, 8))))
    assert "no values" in at.figure().text_content()


# All views


def every_view():
    holes = normal(1, 6, 6, 3)
    holes[0, 2, 2, 0] = np.nan
    return [
        data_of(holes),
        data_of(normal(1, 8, 8, 80)),
        data_of(normal(1, 512, 16)),
        data_of(normal(1, 5000, 2)),
        data_of(normal(1, 300)),
        data_of(normal(2, 12)),
        data_of(np.arange(300)[np.newaxis], padding=True),
        data_of(np.zeros((1, 0))),
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("enlarged", [False, True])
def test_all_views_are_accessible(page, scheme, enlarged):
    at = TensorPage(page, *every_view())
    at.colour(scheme)
    if enlarged:
        at.figure().locator(".cw-tile").first.click()
    violations = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa"]}).response["violations"]
    assert not violations, [(v["id"], v["nodes"][0]["html"]) for v in violations]


@pytest.mark.parametrize("width", [320, 560, 1000])
def test_nothing_is_cut_off_or_too_small_to_read(page, width):
    at = TensorPage(page, *every_view())
    page.locator("main").evaluate("(one, width) => { one.style.width = `${width}px`; }", width)
    at.figure().locator(".cw-tile").first.click()
    texts = page.evaluate(
        """() => {
          const panel = document.querySelector("main").getBoundingClientRect();
          const walker = document.createTreeWalker(document.querySelector("main"), 4);
          const found = [];
          while (walker.nextNode()) {
            const node = walker.currentNode;
            const range = document.createRange();
            range.selectNodeContents(node);
            const box = range.getBoundingClientRect();
            if (!node.textContent.trim() || !box.width) continue;
            found.push({ text: node.textContent, dialog: !!node.parentElement.closest("dialog"),
              size: parseFloat(getComputedStyle(node.parentElement).fontSize),
              out: box.left < panel.left - 1 || box.right > panel.right + 4 });
          }
          return found;
        }"""
    )
    assert len(texts) > 100
    assert [one for one in texts if one["size"] < 11] == []
    assert [one["text"] for one in texts if one["out"] and not one["dialog"]] == []
