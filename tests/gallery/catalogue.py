"""All networks of the gallery."""

from . import (
    applications,
    detection,
    efficient,
    generative,
    hub,
    kimm_models,
    paths,
    residual,
    sequences,
    transformers,
)
from .entry import Entry

CATALOGUE: tuple[Entry, ...] = (
    *applications.CATALOGUE,
    *residual.CATALOGUE,
    *paths.CATALOGUE,
    *efficient.CATALOGUE,
    *transformers.CATALOGUE,
    *sequences.CATALOGUE,
    *generative.CATALOGUE,
    *detection.CATALOGUE,
    *hub.CATALOGUE,
    *kimm_models.CATALOGUE,
)
