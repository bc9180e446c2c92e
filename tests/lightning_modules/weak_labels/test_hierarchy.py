"""Classes with parents: the tree, what classifier and separator learn from labels at any level, against loops."""

from functools import partial
from typing import Any

import pytest
import torch
from tiny_systems import FRAMES, GEOMETRY, GEOMETRY_SETTINGS, SAMPLES
from torch import Tensor

from datamodules.label_levels import LabelLevels
from lightning_modules.batch import Batch
from lightning_modules.class_tree import ClassTree
from lightning_modules.errors import InputError
from lightning_modules.networks import BLSTM
from lightning_modules.separation_scores import parent_scores, si_sdr
from lightning_modules.setting_checks import require_agreement
from lightning_modules.spectrogram import stft
from lightning_modules.weak_labels.separator_module import WeakLabelSeparator

CLASSES = ["drill", "yap", "horn", "growl", "howl", "wail"]
HIERARCHY: dict[str, Any] = {"dog": ["howl", {"bark": ["yap", "growl"]}], "alarm": ["wail", "horn"]}
TREE = ClassTree(CLASSES, HIERARCHY)
# By hand: the classes, then the parents, each before those below it.
SETS = [{0}, {1}, {2}, {3}, {4}, {5}, {1, 3, 4}, {1, 3}, {2, 5}]
DEPTHS = [0, 2, 1, 2, 1, 1, 0, 1, 0]
PRIOR = torch.linspace(0.1, 0.8, len(SETS))


def labels_of(seed: int = 0) -> Tensor:
    """Labels of classes, for three mixtures."""
    return (torch.rand(3, len(CLASSES), FRAMES, generator=torch.Generator().manual_seed(seed)) < 0.4).float()


def batch_of(labels: Tensor, levels: tuple[int, ...] = (0, 1, 2)) -> Batch:
    """Noise of each class, the mixtures labelled to these depths."""
    nodes = torch.stack([labels[:, sorted(places)].amax(1) for places in SETS], 1)
    for mixture, level in enumerate(levels):
        for node, depth in enumerate(DEPTHS):
            if depth > level:
                nodes[mixture, node] = torch.nan
    sources = 0.3 * torch.randn(3, len(CLASSES), SAMPLES, generator=torch.Generator().manual_seed(1))
    return Batch(sources.sum(1), sources, nodes, nodes.amax(-1), torch.arange(3))


def separator(supervision: str, **settings: Any) -> WeakLabelSeparator:
    torch.manual_seed(1)
    network = partial(BLSTM, units=4, layers=1)
    joint = {} if supervision == "strong" else {"joint_classifier": {"network": network, "gain": 10.0}}
    shared = {"classes": CLASSES, "hierarchy": HIERARCHY, "network": network, "quiet_frames": 0.0, **GEOMETRY_SETTINGS}
    model = WeakLabelSeparator(supervision=supervision, **{**shared, **joint, **settings}).eval()  # type: ignore[arg-type]
    for module in (model, model.classifier):
        if module is not None:
            module.prior = PRIOR[: len(module.prior)]
    return model


def test_the_tree_is_read_to_any_depth():
    assert TREE.names == [*CLASSES, "dog/all", "bark/all", "alarm/all"]
    assert TREE.depths.tolist() == DEPTHS
    assert TREE.parents == {"dog/all": [1, 3, 4], "bark/all": [1, 3], "alarm/all": [2, 5]}
    assert TREE.related.tolist() == [[float(bool(one & other)) for other in SETS] for one in SETS]
    plain = ClassTree(CLASSES)
    labels = labels_of()
    assert plain.names == CLASSES and plain.sums(labels) is plain.of_leaves(labels) is labels


@pytest.mark.parametrize(
    ("hierarchy", "message"),
    [
        ({"dog": ["yap", "cat"]}, "cat is not among the classes, drill, yap"),
        ({"dog": ["yap", "howl"], "pet": ["yap", "growl"]}, "yap is in it 2 times"),
        ({"dog": ["yap", "howl"], "pet": [{"dog": ["horn", "growl"]}, "wail"]}, "dog/all is in it 2 times"),
        ({"pet": {"dog": ["yap", "howl"]}}, "pet/all has 1 children; two at least"),
        ({"dog": []}, "dog/all has 0 children"),
        ({"a/b": ["yap", "howl"]}, "a/b is no name of a file"),
        (["yap", "howl"], "parents with their children, such as"),
    ],
)
def test_what_is_no_tree_of_the_classes_is_refused_in_one_line(hierarchy, message):
    with pytest.raises(InputError, match=f"hierarchy: .*{message}") as caught:
        ClassTree(CLASSES, hierarchy)
    assert "\n" not in str(caught.value)


def test_hierarchies_in_another_order_have_other_nodes_and_do_not_agree():
    turned = dict(reversed(HIERARCHY.items()))
    assert ClassTree(CLASSES, turned).names != TREE.names
    with pytest.raises(InputError, match=r"^hierarchy: the model has \{'dog"):
        require_agreement(separator("strong").signature(), {"hierarchy": turned}, "the checkpoint")


def cross_entropy(logit: Tensor, target: float) -> Tensor:
    probability = logit.double().sigmoid()
    return -(probability if target else 1 - probability).log()


@pytest.mark.parametrize("supervision", ["frame", "clip"])
@pytest.mark.parametrize("mask", ["magnitude", "complex"])
def test_weak_loss_is_that_of_loops_over_the_nodes_that_are_known(supervision, mask):
    model, batch = separator(supervision, alpha=3.0, mask=mask), batch_of(labels_of())
    magnitude = stft(batch.mixture, GEOMETRY).abs()
    with torch.no_grad():
        masks = model.masks(magnitude)
        losses = model.loss(magnitude, masks, batch)
        estimates = [sum(masks[:, i] for i in places) * magnitude for places in SETS]
        logits = [model.classifier(each.abs()) for each in (*estimates, magnitude)]  # type: ignore[misc]
    frames = FRAMES if supervision == "frame" else 1
    for b, loss in enumerate(losses):
        known = [n for n, labels in enumerate(batch.frame_labels[b]) if not labels.isnan().any()]
        assert len(known) == (3, 7, 9)[b]
        expected = 0.0
        for t in range(frames):
            active = {n: float(batch.frame_labels[b, n, t] if frames > 1 else batch.clip_labels[b, n]) for n in known}
            weight = {n: 1.0 for n in known}
            if frames > 1:
                weight = {n: float(1 / PRIOR[n] if active[n] else 1 / (1 - PRIOR[n])) for n in known}
            for j in known:
                heard = [each[b, j, t] if frames > 1 else each[b, j].max() for each in logits]
                expected += weight[j] * cross_entropy(heard[-1], active[j]) / frames  # of the joint classifier
                for n in known:
                    # What is to be found is what of j is active within n.
                    target = float(bool(SETS[n] & SETS[j]) and active[n] and active[j])
                    expected += weight[j] * cross_entropy(heard[n], target) / frames
        lowest = [n for n in known if not any(SETS[m] < SETS[n] for m in known)]
        assert sorted(place for n in lowest for place in SETS[n]) == list(range(len(CLASSES)))
        for t in range(FRAMES):
            active = {n: float(batch.frame_labels[b, n, t] if frames > 1 else batch.clip_labels[b, n]) for n in lowest}
            rest = magnitude[b, :, t] - sum(active[n] * estimates[n][b, :, t] for n in lowest)
            silent = sum((1 - active[n]) * masks[b, i, :, t].abs() for n in lowest for i in SETS[n])
            expected += 3 * float((rest.abs() + silent * magnitude[b, :, t]).sum()) / FRAMES
        assert float(loss) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("mask", ["magnitude", "phase_sensitive", "complex"])
def test_strong_loss_compares_the_lowest_known_nodes_with_the_sums_of_their_sources(mask):
    model, batch = separator("strong", mask=mask), batch_of(labels_of())
    magnitude = stft(batch.mixture, GEOMETRY).abs()
    masks = model.masks(magnitude)
    plain = separator("strong", mask=mask, hierarchy=None)
    for b, lowest in enumerate(([0, 6, 8], [0, 2, 4, 5, 7], [0, 1, 2, 3, 4, 5])):
        # A system whose classes are these nodes and which has no hierarchy.
        own = [torch.stack([each[b, sorted(SETS[n])].sum(0) for n in lowest])[None] for each in (masks, batch.sources)]
        labels = batch.frame_labels[b : b + 1, lowest]
        alone = Batch(batch.mixture[b : b + 1], own[1], labels, labels.amax(-1), batch.indices[b : b + 1])
        plain.prior = PRIOR[lowest]
        expected = plain.loss(magnitude[b : b + 1], own[0], alone)[0]
        torch.testing.assert_close(model.loss(magnitude, masks, batch)[b], expected)


@pytest.mark.parametrize("supervision", ["frame", "clip", "strong"])
def test_nothing_below_the_level_of_a_label_reaches_the_gradient(supervision):
    one = labels_of()
    one[:, 1:] = 0
    other = one.clone()
    one[:, [1, 2]] = other[:, [3, 5]] = 1  # other kinds of the same parents
    gradients = []
    for labels in (one, other):
        model = separator(supervision)
        levels = LabelLevels(TREE, [1, 0, 0], seed=0, split="train")(labels, [0, 1, 2])
        batch = batch_of(labels)._replace(frame_labels=levels, clip_labels=levels.amax(-1))
        if labels is other:  # what the kinds of a parent sound like is not told either, only their sum
            batch.sources[:, [1, 2, 3, 5]] = batch.sources[:, [3, 5, 1, 2]]
        magnitude = stft(batch.mixture, GEOMETRY).abs()
        model.loss(magnitude, model.masks(magnitude), batch).sum().backward()
        gradients.append([weight.grad for weight in model.parameters() if weight.grad is not None])
    assert gradients[0] and all(gradient.isfinite().all() for gradient in gradients[0])
    assert any(gradient.any() for gradient in gradients[0])
    for gradient, same in zip(*gradients, strict=True):
        torch.testing.assert_close(gradient, same)


def test_drawn_estimates_give_the_whole_loss_of_all_nodes_in_the_mean():
    batch, drawn = batch_of(labels_of()), separator("frame", classified_estimates=4, alpha=0.0).train()
    magnitude = stft(batch.mixture, GEOMETRY).abs()
    with torch.no_grad():
        masks = drawn.masks(magnitude)
        mean = torch.stack([drawn.loss(magnitude, masks, batch) for _ in range(400)]).mean(0)
        torch.testing.assert_close(mean, drawn.eval().loss(magnitude, masks, batch), rtol=0.05, atol=0)


def test_a_parent_is_scored_as_the_sum_of_its_children_and_not_where_it_is_alone():
    batch = batch_of(torch.ones_like(labels_of()), levels=(2, 2, 2))
    batch.sources[1, [0, 2, 5]] = 0  # dogs alone
    batch.sources[2, [1, 3, 4]] = 0  # no dog
    nodes = torch.ones(3, len(SETS))
    nodes[1, [0, 2, 5, 8]] = nodes[2, [1, 3, 4, 6, 7]] = 0
    batch = batch._replace(mixture=batch.sources.sum(1), clip_labels=nodes)
    estimates = batch.sources + torch.randn(batch.sources.shape, generator=torch.Generator().manual_seed(4))
    rows = {(row.mixture, row.label): row for row in parent_scores(batch, estimates, TREE.parents)}
    expected = {(0, "dog/all"), (0, "bark/all"), (0, "alarm/all"), (1, "dog/all"), (1, "bark/all"), (2, "alarm/all")}
    assert rows.keys() == expected
    assert {key for key, row in rows.items() if row.left_out} == {(1, "dog/all")}
    for (b, label), row in rows.items():
        if not row.left_out:
            source, estimate = (each[b, TREE.parents[label]].sum(0) for each in (batch.sources, estimates))
            assert row.si_sdr == pytest.approx(float(si_sdr(estimate, source)), abs=1e-4)
            assert row.input_si_sdr == pytest.approx(float(si_sdr(batch.mixture[b], source)), abs=1e-4)
