"""Figures: what they show and that they can be drawn."""

import warnings

import numpy as np
import pytest
import scipy.stats
from matplotlib.colors import to_hex
from sklearn.decomposition import PCA

from lightning_modules.scores.figures import (
    PALETTE,
    confidence_figure,
    embedding_figure,
    principal_plane,
    separation_figure,
    write_figure,
)


@pytest.fixture
def vectors():
    generator = np.random.default_rng(0)
    return generator.normal(size=(200, 20)) * np.linspace(3, 0.1, 20) + 1


def test_confidence_figure_has_a_labelled_panel_per_domain_and_all_points(evaluated_factory, tmp_path):
    evaluated = evaluated_factory()
    figure = confidence_figure(evaluated, "Synthetic rows.")
    assert len(figure.axes) == 3
    for panel, domain in zip(figure.axes, evaluated.domains, strict=True):
        member = evaluated.domain == domain
        own = evaluated.models.index(domain)
        x, y = np.repeat(evaluated.confidence[member, own], 2), evaluated.source_si_sdr[member, own].ravel()
        assert panel.get_title() == f"{domain}: r = {scipy.stats.pearsonr(x, y).statistic:.2f} (own model)"
        assert panel.get_xlabel() == "confidence"
        shown = [points for points in panel.collections if len(points.get_offsets())]
        assert [len(points.get_offsets()) for points in shown] == [120] * 3
        assert {tuple(point) for point in shown[own].get_offsets().data} == set(zip(x, y, strict=True))
        assert [to_hex(points.get_facecolor()[0]).upper() for points in shown] == list(PALETTE[:3])
        strength = [points.get_alpha() for points in shown]
        assert strength.index(max(strength)) == own
    assert "(dB)" in figure.axes[0].get_ylabel()
    assert [text.get_text() for text in figure.legends[0].texts] == [f"{model} model" for model in evaluated.models]
    write_figure(tmp_path / "confidence.png", figure)
    assert (tmp_path / "confidence.png").stat().st_size > 10_000


def test_a_domain_whose_own_model_has_no_confidence_is_headed_by_its_name_alone(evaluated_factory):
    evaluated = evaluated_factory()
    evaluated.scores["confidence"][:, 0] = np.nan
    titles = [panel.get_title() for panel in confidence_figure(evaluated).axes]
    assert titles[0] == evaluated.domains[0] and all("r = 0." in title for title in titles[1:])


def test_little_can_be_drawn_and_domains_without_mixtures_have_no_panel(evaluated_factory, tmp_path):
    silence = np.zeros((3, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for mixtures in (0, 1):
            figure = confidence_figure(evaluated_factory(mixtures=mixtures))
            write_figure(tmp_path / "few.png", figure)
            assert len(figure.axes) == (3 if mixtures else 1)
        write_figure(tmp_path / "few.png", separation_figure(silence, silence, silence, hop=0.01, highest=4000))


def test_the_plane_is_that_of_principal_component_analysis(vectors):
    plane, shares = principal_plane(vectors)
    reference = PCA(2).fit(vectors)
    np.testing.assert_allclose(np.abs(plane), np.abs(reference.transform(vectors)), atol=1e-9)
    np.testing.assert_allclose(shares, reference.explained_variance_ratio_)


@pytest.mark.parametrize("shape", [(1, 20), (5, 1)])
def test_what_spans_no_plane_is_padded(shape, tmp_path):
    embedding = np.random.default_rng(0).normal(size=shape)
    plane, shares = principal_plane(embedding)
    assert plane.shape == (shape[0], 2) and shares.shape == (2,)
    assert np.isfinite(plane).all() and np.isfinite(shares).all()
    labels = np.zeros(shape[0], dtype=int)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        embedding_figure(embedding, labels, labels).savefig(tmp_path / "little.png")


def test_embedding_figure_colours_the_same_points_by_cluster_and_by_source(vectors):
    generator = np.random.default_rng(0)
    clusters, sources = generator.integers(2, size=(2, len(vectors)))
    figure = embedding_figure(vectors, clusters, sources, "speech mixture 3")
    for panel, labels, name in zip(figure.axes, (clusters, sources), ("cluster", "source"), strict=True):
        points = panel.collections[0]
        np.testing.assert_array_equal(points.get_offsets().data, principal_plane(vectors)[0])
        assert [to_hex(c).upper() for c in points.get_facecolor()] == [PALETTE[label] for label in labels]
        assert [text.get_text() for text in panel.get_legend().texts] == [f"{name} 1", f"{name} 2"]
    assert figure.get_suptitle() == "speech mixture 3"


def test_a_separation_shows_levels_below_the_mixtures_loudest_bin_and_the_mask():
    mixture = np.array([[1.0, 0.1], [1e-5, 0.0]])
    figure = separation_figure(mixture, 0.5 * mixture, np.array([[0.25, 0.2], [1.0, 0.0]]), hop=0.01, highest=4000)
    panels = {panel.get_title(): panel for panel in figure.axes if panel.get_title()}
    assert list(panels) == ["mixture (dB)", "truth (dB)", "estimate (dB)", "effective mask"]
    shown = {name: panel.images[0].get_array() for name, panel in panels.items()}
    np.testing.assert_allclose(shown["mixture (dB)"], [[0, -20], [-80, -80]], atol=1e-9)
    np.testing.assert_allclose(shown["truth (dB)"], [[-6.02, -26.02], [-80, -80]], atol=0.01)
    # Twice the mixture counts as all of it; below the floor there is nothing to keep.
    np.testing.assert_allclose(shown["effective mask"], [[0.25, 1], [0, 0]])
    assert panels["truth (dB)"].images[0].get_extent() == [0, 0.02, 0, 4]
