"""Deep clustering under the real Trainer: what ideal embeddings separate, what training looks at, what is refused."""

from collections.abc import Sequence
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import LightningDataModule
from tiny_systems import IN_BFLOAT16, trainer
from torch import Tensor, nn
from torch.optim import Adam
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader

from callbacks.separation_evaluation import SeparationEvaluation
from lightning_modules.batch import Batch
from lightning_modules.deep_clustering.level_features import level_features
from lightning_modules.deep_clustering.losses import (
    deep_clustering_loss,
    dominant_source,
    mask_inference_loss,
    whitened_k_means_loss,
)
from lightning_modules.deep_clustering.module import DeepClustering
from lightning_modules.deep_clustering.source_count import SourceCount
from lightning_modules.errors import InputError
from lightning_modules.networks import BLSTM
from lightning_modules.spectrogram import Geometry, istft, stft
from lightning_modules.trained_module import load_module

GEOMETRY = Geometry(8000, 64, 32)
SAMPLES = 1600
FRAMES = GEOMETRY.frames(SAMPLES)
D = 5


def model(kind: Any = DeepClustering, **settings: Any) -> Any:
    """A tiny one. Settings of its network, and the rate of Adam, by their own names."""
    torch.manual_seed(0)
    sizes = {"units": 4, "layers": 2, "output_init_scale": 8.0}
    sizes |= {name: settings.pop(name) for name in ("units", "layers", "dropout") if name in settings}
    tiny: dict[str, Any] = {"sample_rate": 8000, "window": 64, "hop": 32, "dimensions": D, "excerpt_frames": 20}
    tiny |= {"network": partial(BLSTM, **sizes), "optimizer": partial(Adam, lr=settings.pop("lr", 1e-2))}
    return kind(**{"domain": "noise", **tiny, **settings})


def random_batch(size: int, seed: int = 0, sources: int = 2) -> Batch:
    """Noises in bands of their own that overlap, each swelling and fading."""
    generator = torch.Generator().manual_seed(seed)
    frequency = torch.rand(size, sources, 1, generator=generator) * 0.3 + torch.arange(sources).unsqueeze(-1)
    time = torch.arange(SAMPLES) * torch.pi / (sources + 1)
    noise = torch.randn(size, sources, SAMPLES, generator=generator).cumsum(-1)
    swell = 1 + (torch.rand(size, sources, 1, generator=generator) * torch.arange(SAMPLES) / 40).sin()
    made = 0.01 * noise * (time * (frequency + 0.5)).sin() * swell
    labels = torch.ones(size, sources, FRAMES)
    return Batch(made.sum(1), made, labels, labels.amax(-1), 10 * seed + torch.arange(size))


class RandomPairs(LightningDataModule):
    """Two training and two validation batches, the second of the latter smaller, always the same."""

    seed = 0

    def __init__(self, geometry: Geometry = GEOMETRY, domain: str = "noise", sources: int = 2) -> None:
        super().__init__()
        self.geometry, self.domain, self.sources = geometry, domain, sources

    def _loader(self, *batches: tuple[int, int]) -> DataLoader[Batch]:
        made = [random_batch(size, seed, self.sources) for size, seed in batches]
        return DataLoader(made, batch_size=None)  # type: ignore[arg-type]

    def train_dataloader(self) -> DataLoader[Batch]:
        return self._loader((4, 0), (4, 1))

    def val_dataloader(self) -> DataLoader[Batch]:
        return self._loader((3, 2), (1, 3))

    test_dataloader = predict_dataloader = val_dataloader


class Given(nn.Module):
    """A network whose unit vectors are what it was told, and that remembers what it inputs."""

    def __init__(self, embedding: Tensor) -> None:
        super().__init__()
        self.embedding = embedding
        self.inputs: list[Tensor] = []

    def forward(self, features: Tensor) -> Tensor:
        self.inputs.append(features)
        frames = features.shape[2]
        told = (
            self.embedding[:, : features.shape[1] * frames].unflatten(1, (frames, -1)).expand(len(features), -1, -1, -1)
        )
        return (200 * told - 100).permute(0, 3, 2, 1)  # logits of 0 and 1


def ideal(batch: Batch, geometry: Geometry = GEOMETRY) -> tuple[Tensor, Tensor]:
    """The ideal binary masks, [B, Q, bins, frames], and as an embedding: the dominant source, one-hot, [B, N, D]."""
    magnitude = stft(batch.sources, geometry).abs()
    masks = torch.nn.functional.one_hot(magnitude.argmax(1), magnitude.shape[1]).float()  # [B, bins, frames, Q]
    embedding = torch.zeros(len(magnitude), magnitude.shape[2] * magnitude.shape[3], D)
    embedding[..., : magnitude.shape[1]] = masks.transpose(1, 2).flatten(1, 2)
    return masks.permute(0, 3, 1, 2), embedding


def best_order(estimates: Tensor, expected: Tensor) -> Tensor:
    """Each mixture's estimates in the order in which they differ least from what is expected."""
    return torch.stack(
        [
            min((e[list(order)] for order in permutations(range(len(e)))), key=lambda o: float((o - x).square().sum()))
            for e, x in zip(estimates, expected, strict=True)
        ]
    )


@pytest.mark.parametrize("sources", [2, 3])
def test_an_embedding_of_the_dominant_sources_gives_what_ideal_binary_masks_give(sources):
    batch = random_batch(3, sources=sources)
    masks, embedding = ideal(batch)
    expected = istft(masks * stft(batch.mixture, GEOMETRY).unsqueeze(1), GEOMETRY, SAMPLES)
    for sharpness, tolerance in ((5.0, 3e-3), (50.0, 1e-5)):
        separator = model(sources=sources, mask_sharpness=sharpness)
        separator.network = Given(embedding)
        estimates = separator(batch.mixture, batch.indices)
        assert estimates.shape == batch.sources.shape
        error = best_order(estimates, expected) - expected
        assert (error.square().mean().sqrt() < tolerance * expected.square().mean().sqrt()).all()


class TwoHeads(Given):
    """Embeddings, and behind them the logits of given masks."""

    def __init__(self, embedding: Tensor, masks: Tensor) -> None:
        super().__init__(embedding)
        self.logits = masks.clamp_min(1e-30).log()

    def forward(self, features: Tensor) -> Tensor:
        return torch.cat([super().forward(features), self.logits], 1)


@pytest.mark.parametrize("head", ["masks", "both"])
def test_a_head_of_masks_separates_and_the_embeddings_give_the_confidence(head):
    batch = random_batch(3, sources=3)
    masks, embedding = ideal(batch)
    flipped = masks.flip(1)
    expected = istft(flipped * stft(batch.mixture, GEOMETRY).unsqueeze(1), GEOMETRY, SAMPLES)
    separator = model(sources=3, head=head)
    separator.network = TwoHeads(embedding if head == "both" else embedding[..., :0], flipped)
    embedded = separator.embed(batch.mixture)
    torch.testing.assert_close(separator(batch.mixture, batch.indices), expected, atol=1e-5, rtol=0)
    clusters = model(sources=3)
    clusters.network = Given(embedding)
    if head == "masks":  # as unit vectors: the dominant sources, in the order of the masks
        torch.testing.assert_close(embedded.embedding, embedding[..., [2, 1, 0]], atol=1e-6, rtol=0)
    else:
        torch.testing.assert_close(embedded.embedding, clusters.embed(batch.mixture).embedding)
        by_clusters = model(sources=3, head=head, separate_by="clusters")
        by_clusters.network = separator.network
        asked = separator.separate(embedded, batch.indices, SAMPLES, 3).estimates
        for found in (by_clusters(batch.mixture, batch.indices), asked):
            assert torch.equal(found, clusters(batch.mixture, batch.indices))


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_the_loss_of_both_heads_is_their_weighted_sum(weight, monkeypatch):
    separator, batch = model(head="both", clustering_weight=weight, excerpt_frames=None), random_batch(2)
    separator.eval()
    monkeypatch.setattr(separator, "log_loss", lambda loss, batch, split: loss)
    embedded, sources = separator.embed(batch.mixture), separator.source_magnitudes(batch.sources)
    of_embeddings = deep_clustering_loss(embedded.embedding, dominant_source(sources), embedded.magnitude)
    of_masks = mask_inference_loss(embedded.masks.mT.flatten(2), embedded.magnitude, sources)
    torch.testing.assert_close(separator.training_step(batch, 0), weight * of_embeddings + (1 - weight) * of_masks)


class OwnLosses(DeepClustering):
    """The mixtures' numbers are its losses of masks, a thousand those of embeddings."""

    def mask_loss(self, masks: Tensor, magnitude: Tensor, source_magnitudes: Tensor) -> Tensor:
        assert masks.shape == source_magnitudes.shape
        return torch.arange(len(masks), dtype=masks.dtype)

    def loss(self, embedding: Tensor, magnitude: Tensor, source_magnitudes: Tensor) -> Tensor:
        return torch.full((len(embedding),), 1000.0)


def test_losses_of_ones_own_are_those_of_the_heads_that_there_are(monkeypatch):
    separator, batch = model(OwnLosses, head="both", clustering_weight=0.25), random_batch(3)
    monkeypatch.setattr(separator, "log_loss", lambda loss, batch, split: loss)
    assert separator.training_step(batch, 0).tolist() == [250.0, 250.75, 251.5]
    with pytest.raises(InputError, match=r"^OwnLosses: its own `loss` is of embeddings, which head: masks has none of"):
        model(OwnLosses, head="masks")


@pytest.mark.parametrize("sources", [2, 3, 4])
def test_embeddings_in_separate_clusters_tell_how_many_sources_there_are(sources, tmp_path):
    batch = random_batch(3)
    counting = SourceCount(str(save(model(), tmp_path / "model.ckpt")))  # of two sources
    drawn = torch.randint(sources, (3, FRAMES * GEOMETRY.bins), generator=torch.Generator().manual_seed(0))
    clusters = torch.eye(D)[drawn]
    counting.model.network = Given(clusters)
    counted = counting.separate(batch.mixture, batch.indices)
    assert counted["count"].tolist() == [sources] * 3
    separator = model(sources=sources)
    separator.network = counting.model.network
    expected = separator(batch.mixture, batch.indices)
    torch.testing.assert_close(torch.stack(counting(batch.mixture, batch.indices)), expected)


@pytest.mark.parametrize("silent", [False, True])
def test_k_means_looks_at_the_loudest_bins_alone_and_never_at_silent_ones(silent):
    batch = random_batch(2)
    if silent:  # but for two frames: fewer bins than k-means asks for
        sounds = torch.arange(SAMPLES) < GEOMETRY.hop
        batch = batch._replace(mixture=batch.mixture * sounds, sources=batch.sources * sounds)
    _, embedding = ideal(batch)
    magnitude = stft(batch.mixture, GEOMETRY).abs().mT.flatten(1)
    quiet = magnitude == 0
    if not silent:
        loudest = magnitude.topk(round(0.1 * magnitude.shape[1])).indices
        quiet = torch.ones_like(quiet).scatter(1, loudest, False)
    assert (quiet.sum(1) >= 0.9 * quiet.shape[1]).all()
    separator = model()
    separator.network = Given(torch.where(quiet.unsqueeze(-1), torch.eye(D)[4], embedding))
    centres = separator.separate(separator.embed(batch.mixture), batch.indices, SAMPLES).centres
    assert (centres[..., :2].sum(-1) > 0.999).all() and (centres[..., 4] < 1e-6).all()


@pytest.mark.parametrize("loss", [deep_clustering_loss, whitened_k_means_loss])
def test_bins_weigh_by_their_magnitude(loss):
    separator, batch = model(loss=loss.__name__.removesuffix("_loss")), random_batch(2)
    embedded, sources = separator.embed(batch.mixture), separator.source_magnitudes(batch.sources)
    expected = loss(embedded.embedding, dominant_source(sources), embedded.magnitude)
    torch.testing.assert_close(separator.loss(embedded.embedding, embedded.magnitude, sources), expected)


def test_by_default_masks_fall_with_five_times_the_distance_from_their_centres():
    separator, batch = model(), random_batch(2)
    with torch.no_grad():
        separator.network.output.weight.mul_(5)  # vectors that differ
        embedded = separator.embed(batch.mixture)
        estimates, centres = separator.separate(embedded, batch.indices, SAMPLES)
    likelihood = (-5 * torch.cdist(embedded.embedding.double(), centres)).exp()
    masks = (likelihood / likelihood.sum(-1, keepdim=True)).float().unflatten(1, (FRAMES, -1)).permute(0, 3, 2, 1)
    expected = istft(masks * embedded.spectrum.unsqueeze(1), GEOMETRY, SAMPLES)
    torch.testing.assert_close(estimates, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))
    torch.testing.assert_close(estimates.sum(1), batch.mixture, atol=1e-5, rtol=0)


class Watched:
    """The excerpts that training steps look at: features inputs, and bins weighted and compared."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
        self.monkeypatch = monkeypatch
        self.model = model(**settings)
        self.network = Given(torch.eye(D)[:1].expand(1, FRAMES * GEOMETRY.bins, D))
        self.model.network = self.network
        self.seen: list[tuple[Tensor, Tensor]] = []

        def loss(embedding: Tensor, magnitude: Tensor, source_magnitudes: Tensor) -> Tensor:
            self.seen.append((magnitude, source_magnitudes))
            return magnitude.mean(-1)

        monkeypatch.setattr(self.model, "loss", loss)
        monkeypatch.setattr(self.model, "log_loss", lambda loss, batch, split: loss.mean())

    def starts(self, batch: Batch, epoch: int = 0) -> list[int]:
        """First frame of each mixture's excerpt; all that is looked at must be the same frames of it."""
        self.monkeypatch.setattr(DeepClustering, "current_epoch", epoch)
        self.model.training_step(batch, 0)
        inputs, (weight, sources) = self.network.inputs[-1], self.seen[-1]
        mixture, truth = stft(batch.mixture, GEOMETRY).abs(), stft(batch.sources, GEOMETRY).abs()
        features, length = level_features(mixture), inputs.shape[-1]
        found = []
        for b in range(len(batch.mixture)):
            (start,) = [
                start
                for start in range(FRAMES - length + 1)
                if torch.equal(inputs[b], features[b, :, start : start + length])
            ]
            for t in range(length):
                bins = slice(t * GEOMETRY.bins, (t + 1) * GEOMETRY.bins)
                assert torch.equal(weight[b, bins], mixture[b, :, start + t])
                assert torch.equal(sources[b, :, bins], truth[b, :, :, start + t])
            found.append(start)
        return found


def test_an_excerpt_is_a_function_of_the_mixture_and_the_epoch(monkeypatch):
    watched, batch = Watched(monkeypatch), random_batch(6)
    together = {epoch: watched.starts(batch, epoch) for epoch in range(4)}
    assert len({tuple(starts) for starts in together.values()}) == 4
    torch.manual_seed(99)
    for epoch, starts in together.items():
        assert watched.starts(Batch(*(field.flip(0) for field in batch)), epoch) == starts[::-1]
        assert watched.starts(Batch(*(field[2:3] for field in batch)), epoch) == starts[2:3]
    # They begin anywhere, and so that they fit.
    watched = Watched(monkeypatch, excerpt_frames=FRAMES - 3)
    starts = [start for epoch in range(12) for start in watched.starts(batch, epoch)]
    assert [starts.count(start) > 5 for start in range(4)] == [True] * 4


def test_another_seed_of_the_data_draws_other_excerpts():
    def inputs(seed: int) -> list[Tensor]:
        data, separator = RandomPairs(), model()
        data.seed = seed
        excerpts: list[Tensor] = []
        separator.network.register_forward_pre_hook(lambda _, inputs: excerpts.extend(inputs[0]))
        trainer(1, limit_val_batches=0).fit(separator, datamodule=data)
        return excerpts

    first, again, other = inputs(3), inputs(3), inputs(4)
    assert len(first) == 8 and all(map(torch.equal, first, again))
    assert sum(map(torch.equal, first, other)) < 4  # one in 32 by chance


@pytest.mark.parametrize("frames", [None, FRAMES])
def test_a_mixture_no_longer_than_an_excerpt_is_looked_at_whole(monkeypatch, frames):
    watched = Watched(monkeypatch, excerpt_frames=frames)
    assert watched.starts(random_batch(3)) == [0, 0, 0]
    assert watched.network.inputs[-1].shape == (3, GEOMETRY.bins, FRAMES)


class Recorded(DeepClustering):
    """Keeps every training loss."""

    losses: list[float]

    def log_loss(self, loss: Tensor, batch: Batch, split: Any) -> Tensor:
        if split == "train":
            self.losses += loss.tolist()
        return super().log_loss(loss, batch, split)


@pytest.mark.parametrize("loss", ["deep_clustering", "whitened_k_means"])
def test_training_on_silent_excerpts_leaves_every_weight_finite(loss):
    module, data, heard = model(Recorded, loss=loss), RandomPairs(), torch.arange(SAMPLES) < 500
    module.losses = []
    batches = [random_batch(1, seed) for seed in range(8)]
    batches = [batch._replace(mixture=batch.mixture * heard, sources=batch.sources * heard) for batch in batches]
    data.train_dataloader = lambda: DataLoader(batches, batch_size=None)  # type: ignore[method-assign, arg-type]
    before = {name: value.clone() for name, value in module.state_dict().items()}
    trainer(3).fit(module, datamodule=data)
    assert len(module.losses) == 24 and torch.tensor(module.losses).isfinite().all()
    silent = module.losses.count(0.0)
    assert 3 <= silent <= 21
    for name, value in module.named_parameters():
        assert value.isfinite().all() and not torch.equal(before[name], value), name
    assert len(module.autoclip.state_dict()["norms"]) == 24 - silent


def test_training_lowers_the_loss_and_validation_loss_is_the_mean_over_mixtures_whatever_the_batches():
    separator, data, training = model(), RandomPairs(), trainer(12)

    def losses() -> Tensor:
        found = []
        separator.eval()
        for batch in data.val_dataloader():
            embedded = separator.embed(batch.mixture)
            truth = stft(batch.sources, GEOMETRY).abs()
            truth = torch.stack([source.mT.flatten(1) for source in truth.unbind(1)], 1)
            found.append(separator.loss(embedded.embedding, embedded.magnitude, truth))
        assert len(found[0]) != len(found[1])
        return torch.cat(found).detach()

    before = losses().mean()
    separator.train()
    training.fit(separator, datamodule=data)
    torch.testing.assert_close(training.callback_metrics["validation_loss"].float(), losses().mean())
    assert losses().mean() < before


def test_three_sources_go_through_training_validation_and_test(monkeypatch):
    separator, data = model(sources=3), RandomPairs(sources=3)
    training = trainer(1, callbacks=[SeparationEvaluation()])
    training.fit(separator, datamodule=data)
    assert {f"validation_improvement_db/source_{q}" for q in (1, 2, 3)} <= training.callback_metrics.keys()
    batches = list(data.test_dataloader())
    predicted: Sequence[Any] = trainer().predict(separator, datamodule=data) or []
    assert [estimates.shape for estimates in predicted] == [batch.sources.shape for batch in batches]
    separator.eval()
    monkeypatch.setattr(separator, "log", lambda *_, **__: None)  # outside a run there is nowhere to log to
    for batch, estimates in zip(batches, predicted, strict=True):
        for step in (separator.test_step, separator.validation_step):
            torch.testing.assert_close(step(batch, 0), estimates, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("offered", "message"),
    [
        ((Geometry(16_000, 64, 32),), "sample_rate: the model has 8000, the data 16000"),
        ((Geometry(8000, 64, 16),), "hop: the model has 32, the data 16"),
        ((GEOMETRY, "music"), "domain: the model has noise, the data music"),
        ((GEOMETRY, "noise", 3), "sources: the model has 2, the data 3"),
    ],
)
def test_data_of_another_rate_geometry_domain_or_number_of_sources_is_refused_with_both_named(offered, message):
    with pytest.raises(InputError, match=f"^{message}; [^\n]*$"):
        trainer().validate(model(), datamodule=RandomPairs(*offered))


def test_without_unit_norm_the_embedding_is_the_sigmoids_that_unit_vectors_are_made_of():
    unit, plain = model().eval(), model(activation="sigmoid").eval()
    batch = random_batch(3)
    with torch.no_grad():
        vectors, sigmoids = (each.embed(batch.mixture).embedding for each in (unit, plain))
        torch.testing.assert_close(vectors, sigmoids / sigmoids.norm(dim=-1, keepdim=True))
        assert sigmoids.norm(dim=-1).std() > 0.01
        # k-means finds clusters, and masks share out the mixture, in vectors of any length.
        torch.testing.assert_close(plain(batch.mixture).sum(1), batch.mixture, atol=1e-6, rtol=1e-4)


OUT_OF_RANGE = {"sources": 1, "window": 63, "dimensions": 0, "excerpt_frames": 0, "clustered_share": 1.1}
OUT_OF_RANGE |= {"mask_sharpness": 0.0, "clip_percentile": 101.0, "clustering_weight": 1.5}


def test_a_setting_out_of_its_range_and_an_unknown_choice_are_refused_by_name():
    for setting, value in OUT_OF_RANGE.items():
        with pytest.raises(InputError, match=rf"^{setting}: {value}; [^\n]*needed[^\n]*$"):
            model(**{setting: value})
    with pytest.raises(InputError, match=r"^separate_by: clusters; the noise model has masks of 2 sources and no "):
        model(head="masks", separate_by="clusters")
    for setting in ("activation", "loss", "input_floor", "scheduler_interval", "head", "separate_by"):
        with pytest.raises(InputError, match=rf"^{setting}: 'other'; one of [^\n]* is needed$"):
            model(**{setting: "other"})


def test_an_epoch_without_a_validation_says_nothing_of_the_learning_rate():
    separator, training = model(lr=1e-6, scheduler=partial(ReduceLROnPlateau, factor=0.5, patience=0)), trainer(5)
    training.check_val_every_n_epoch = 2  # after the second and the fourth, which is no better
    training.fit(separator, datamodule=RandomPairs())
    assert [group["lr"] for group in training.optimizers[0].param_groups] == [1e-6 / 2]


def save(module: DeepClustering, path: Path) -> Path:
    resting = trainer()
    resting.strategy.connect(module)
    resting.save_checkpoint(path)
    return path


def test_a_checkpoint_gives_the_same_settings_and_estimates(tmp_path):
    separator = model(sources=3, mask_sharpness=3.0, clustered_share=0.2, input_floor="absolute").eval()
    restored = load_module(save(separator, tmp_path / "model.ckpt"), DeepClustering).eval()
    assert dict(restored.hparams) == dict(separator.hparams)
    mixture = random_batch(2, sources=3).mixture
    assert torch.equal(restored(mixture), separator(mixture))


def test_a_checkpoint_of_another_domain_is_refused(tmp_path):
    path = save(model(domain="music"), tmp_path / "other.ckpt")
    with pytest.raises(InputError, match=r"domain: the model has \w+, the checkpoint music"):
        trainer().fit(model(), datamodule=RandomPairs(), ckpt_path=path, weights_only=True)


def test_a_checkpoint_of_another_size_is_refused(tmp_path):
    path = save(model(units=3), tmp_path / "other.ckpt")
    with pytest.raises(InputError, match=r"^network\.init_args\.units: \d, but 3 when the training began; [^\n]*$"):
        trainer().fit(model(), datamodule=RandomPairs(), ckpt_path=path, weights_only=True)
    with pytest.raises(InputError, match=r"^ckpt_path: its weights are [^\n]*network\.[^\n]*; give the settings "):
        trainer().test(model(), datamodule=RandomPairs(), ckpt_path=path, weights_only=True)


@pytest.mark.any_cpu
@IN_BFLOAT16
def test_a_training_under_autocast_stays_near_one_without():
    losses = []
    for precision in ("32-true", "bf16-mixed"):
        training = trainer(2, precision=precision)
        training.fit(model(), datamodule=RandomPairs())
        losses.append(training.callback_metrics["validation_loss"].item())
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
