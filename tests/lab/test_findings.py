"""What the lessons tell holds for networks that are trained here, and not for untrained ones.

The numbers that they are compared with are the papers'; margins are wide, as a training is not the
same on each machine. The networks of 54 blocks are those that come with the package, trained again.
"""

import numpy as np
import pytest

from cutwidgets import lab
from cutwidgets.lab.shipped import SHIPPED

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def data():
    return lab.digits()


@pytest.fixture(scope="module")
def residual():
    return lab.trained(**SHIPPED["residual"], retrain=True)


@pytest.fixture(scope="module")
def control(residual, data):
    return lab.untrained(residual, data.train[0])


@pytest.fixture(scope="module")
def lesions(residual, data, control):
    return lab.lesions(residual, *data.test, control=control)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_networks_of_the_package_know_the_digits(name, data):
    """Their weights are rounded to float16, and still theirs."""
    error = 1 - lab.trained(**SHIPPED[name]).evaluate(*data.test, verbose=0)[1]
    assert error < 0.06


def hardly_misses_a_block(found):
    """Veit et al. 2016, figure 3."""
    errors = found.table.set_index("block")["error"]
    return found.base < 0.05 and errors.median() < 0.05 and errors.idxmax() == "stage1_block1"


def test_a_residual_network_hardly_misses_a_block(lesions, data):
    assert hardly_misses_a_block(lesions)
    assert not hardly_misses_a_block(lesions.control)
    shipped = lab.lesions(lab.trained(**SHIPPED["residual"]), *data.test)
    assert hardly_misses_a_block(shipped)
    # Where the resolution changes, more is lost than by any other block of the stage. What training
    # gives differs a little between processors: there, another block may come first.
    for result, places in ((shipped, 1), (lesions, 2)):
        for _, stage in result.table.groupby("stage"):
            assert stage.index[0] in stage["error"].nlargest(places).index


def test_a_plain_network_misses_each_block(data):
    plain = lab.trained(**SHIPPED["plain"], retrain=True)
    found = lab.lesions(plain, *data.test)
    assert found.base < 0.1
    assert found.table["error"].median() - found.base > 0.5


def test_more_lesions_are_worse(residual, data):
    """Veit et al. 2016, figure 5a."""
    table = lab.random_lesions(residual, *data.test, counts=[1, 5, 10, 20], repeats=20).table
    assert table["error"].is_monotonic_increasing
    assert table["error"].iloc[0] < 0.2 < 0.5 < table["error"].iloc[-1]


def test_stochastic_depth_makes_lesions_milder(lesions, data):
    """Veit et al. 2016, section 4.4 and figure 7, with the training of Huang et al. 2016."""
    network = lab.trained(**SHIPPED["stochastic"], retrain=True)
    found = lab.lesions(network, *data.test)
    assert found.base < 0.1
    assert found.table["error"].max() < 0.8 * lesions.table["error"].max()


def test_ratios_fall_within_stages_whether_trained_or_not(residual, data, control):
    """De and Smith 2020: about 1/√l, from the initialisation on."""
    ratios = lab.norm_ratios(residual, data.test[0], control=control)
    trained, untrained = (result.table["ratio"] for result in (ratios, ratios.control))
    assert np.corrcoef(trained, untrained)[0, 1] > 0.95
    for _, stage in ratios.control.table.groupby("stage"):
        expected = 1 / np.sqrt(np.arange(1, len(stage) + 1))
        assert np.allclose(stage["ratio"].iloc[1:], expected[1:], rtol=0.5)


def rise(accuracy):
    """Alain and Bengio 2016."""
    order = accuracy.index.to_series()
    return accuracy.iloc[-1] > accuracy.iloc[0] + 0.05 and accuracy.rank().corr(order) > 0.6


def test_probes_rise_only_in_a_trained_network(residual, data, control):
    found = lab.probes(residual, *data.test, control=control)
    assert rise(found.table["accuracy"])
    assert not rise(found.control.table["accuracy"])
    assert found.control.table["accuracy"].iloc[-1] < found.control.table["accuracy"].iloc[0]


def test_short_paths_carry_the_gradient(residual, data, control):
    """Veit et al. 2016, section 5: 5 to 17 of 54, where most paths have 19 to 35."""
    found = lab.path_gradients(residual, *data.test, repeats=3, control=control)
    assert found.means[0] == pytest.approx(27)
    assert found.means[1] < 16
    assert found.longest < 26
    assert found.effective < 0.2
    assert found.control.means[1] > found.means[1] + 3


def test_blocks_of_a_stage_represent_alike(residual, data, control):
    """Kornblith et al. 2019: trained networks have stages."""
    found = lab.similarity(residual, data.test[0], control=control)

    def within_and_across(result):
        values, blocks = result.values, result.table.iloc[:, 0]
        stages = [np.flatnonzero(blocks.str.startswith(f"stage{i}")) for i in (1, 2, 3)]
        within = np.mean([values[np.ix_(stage, stage)].mean() for stage in stages])
        return within, values[np.ix_(stages[0], stages[2])].mean()

    within, across = within_and_across(found)
    assert within > 0.9 > across
    assert within > within_and_across(found.control)[0] + 0.05


def test_leaving_early_saves_half_of_the_work(residual, data, control):
    """Teerapittayanon et al. 2016 report a factor of 1.9 for a ResNet-110."""
    found = lab.exits(residual, data.train, data.test, control=control)

    def saves(result):
        rows = result.table[result.table["accuracy"] > 0.9]
        return not rows.empty and rows["share"].min() < 0.5

    assert saves(found)
    assert not saves(found.control)


def test_a_deeper_plain_network_has_the_higher_training_error(data):
    """He et al. 2015, figures 1 and 6."""
    errors = {}
    for shortcuts in (False, True):
        for blocks in ((2, 2, 2), (6, 6, 6)):
            network = lab.residual_network(blocks, shortcuts=shortcuts)
            training = lab.train(network, data, epochs=3)
            errors[shortcuts, sum(blocks)] = training.table["training error"].iloc[-1]
    assert errors[False, 18] > errors[False, 6] + 0.05
    assert errors[True, 18] < errors[True, 6] + 0.02


def test_gradients_of_untrained_networks(data):
    """Yang et al. 2019: with normalisation a plain network's grow by about 1.21 for each layer."""

    def growth(**options):
        return lab.gradients(lab.residual_network((6, 6, 6), **options), *data.train).growth

    plain = growth(shortcuts=False)
    assert 1.1 < plain ** (1 / 36) < 1.3
    assert growth(shortcuts=False, normalisation=False) < 0.01
    assert growth() < plain / 4
