"""What the lessons tell holds for networks that are trained here: the signs of the findings.

The numbers that they are compared with are the papers'; margins are wide, as a training is not the
same on each machine.
"""

import pytest

from cutwidgets import lab

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
BLOCKS = (6, 6, 6)


@pytest.fixture(scope="module")
def data():
    return lab.digits()


@pytest.fixture(scope="module")
def residual():
    return lab.trained(BLOCKS)


@pytest.fixture(scope="module")
def lesions(residual, data):
    return lab.lesions(residual, *data.test)


def test_a_residual_network_hardly_misses_a_block(lesions):
    """Veit et al. 2016, figure 3."""
    errors = lesions.table.set_index("block")["error"]
    assert lesions.base < 0.04
    assert errors.median() - lesions.base < 0.02
    assert errors.idxmax() == "stage1_block1"


def test_a_plain_network_misses_each_block(data):
    found = lab.lesions(lab.trained(BLOCKS, shortcuts=False), *data.test)
    assert found.base < 0.3
    assert found.table["error"].median() - found.base > 0.5


def test_more_lesions_are_worse(residual, data):
    errors = lab.random_lesions(residual, *data.test, counts=[1, 5, 10], repeats=20).table["error"]
    assert errors.is_monotonic_increasing
    assert errors.iloc[-1] > 0.5


def test_stochastic_depth_makes_lesions_milder(lesions, data):
    """Veit et al. 2016, section 4.4 and figure 7, with the training of Huang et al. 2016."""
    network = lab.trained(BLOCKS, survival=0.5)
    found = lab.lesions(network, *data.test)
    assert found.base < 0.1
    assert found.table["error"].max() < lesions.table["error"].max()


def test_ratios_fall_within_stages_and_probes_rise(residual, lesions, data):
    """Greff et al. 2017; Alain and Bengio 2016."""
    ratios = lab.norm_ratios(residual, data.test[0])
    for _, stage in ratios.table.groupby("stage"):
        assert stage["ratio"].iloc[-1] < 0.8 * stage["ratio"].iloc[0]
    assert ratios.rank_correlation(lesions) > 0.3
    accuracy = lab.probes(residual, *data.test).table["accuracy"]
    assert accuracy.iloc[-1] > accuracy.iloc[0] + 0.05
    assert accuracy.rank().corr(accuracy.index.to_series()) > 0.6


def test_short_paths_carry_the_gradient(residual, data):
    """Veit et al. 2016, section 5: what arrives comes through shorter paths than most are."""
    table = lab.path_gradients(residual, *data.test).table
    means = [(table["length"] * table[column]).sum() for column in ("share", "contribution")]
    assert means[1] < means[0] == pytest.approx(9)


def test_a_deeper_plain_network_has_the_higher_training_error(data):
    """He et al. 2015, figures 1 and 6."""
    errors = {}
    for shortcuts in (False, True):
        for blocks in ((2, 2, 2), BLOCKS):
            network = lab.residual_network(blocks, shortcuts=shortcuts)
            training = lab.train(network, data, epochs=3)
            errors[shortcuts, sum(blocks)] = training.table["training error"].iloc[-1]
    assert errors[False, 18] > errors[False, 6] + 0.1
    assert abs(errors[True, 18] - errors[True, 6]) < 0.1


def test_gradients_of_untrained_networks(data):
    """Yang et al. 2019: with normalisation a plain network's grow by about 1.21 for each layer."""

    def growth(**options):
        return lab.gradients(lab.residual_network(BLOCKS, **options), *data.train).growth

    plain = growth(shortcuts=False)
    assert 1.1 < plain ** (1 / 36) < 1.3
    assert growth(shortcuts=False, normalisation=False) < 0.01
    assert growth() < plain / 4
