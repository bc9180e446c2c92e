"""What pages are made of: sounds, pictures, drawings, curves, and which mixtures are chosen."""

import base64
import io
import re
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from experiments.report import charts, mixtures
from experiments.report.charts import bin_shares, boxes, histograms
from experiments.report.examples import at_ranks
from experiments.report.learning_curves import read_curves
from experiments.report.media import LOUDEST, PICTURE, Pictures, audio, common_gain
from experiments.report.mixtures import lies_in
from experiments.report.page import columns, with_minus_signs
from experiments.report.provenance import compared
from experiments.report.run_folder import Run
from lightning_modules.scores.figures import PALETTE
from lightning_modules.spectrogram import Geometry

GEOMETRY = Geometry(16000, 512, 128)


def decoded(uri, kind):
    head, data = uri.split(",")
    assert head == f"data:{kind};base64"
    return io.BytesIO(base64.b64decode(data))


@pytest.mark.parametrize(("rate", "played"), [(8000, 8000), (10_000, 11_025), (20_000, 22_050), (96_000, 48_000)])
def test_a_sound_of_a_rate_that_mp3_lacks_is_played_at_the_next_one(rate, played):
    tone = torch.sin(2 * np.pi * 440 * torch.arange(rate) / rate)
    heard, heard_rate = soundfile.read(decoded(audio(tone, rate, 0.5), "audio/mpeg"))
    assert heard_rate == played and played <= len(heard) < 1.2 * played  # the encoder may pad
    assert np.abs(np.fft.rfft(heard)).argmax() * played / len(heard) == pytest.approx(440, abs=1)


def test_sounds_are_played_as_they_are_but_for_their_gain(rate=8000):
    time = torch.arange(2 * rate) / rate
    samples = 0.05 * torch.sin(2 * np.pi * 440 * time) * (1 + torch.sin(2 * np.pi * 2 * time))
    gain = common_gain(samples, -0.5 * samples)
    assert float((gain * samples).abs().max()) == pytest.approx(LOUDEST)
    inputs, heard_rate = soundfile.read(decoded(audio(samples, rate, gain), "audio/mpeg"))
    assert heard_rate == rate and len(inputs) == len(samples)
    error = inputs - (gain * samples).numpy()
    assert (error**2).mean() < 5e-3 * (inputs**2).mean()


def test_silence_has_a_sound_and_a_picture_too():
    silence = torch.zeros(16000)
    assert np.abs(soundfile.read(decoded(audio(silence, 16000, common_gain(silence)), "audio/mpeg"))[0]).max() < 1e-3
    assert Image.open(decoded(Pictures(silence, GEOMETRY).mask(silence), "image/webp")).size == PICTURE


def test_low_frequencies_are_below_and_masks_bright_where_the_estimate_keeps_the_mixture():
    time = torch.arange(16000) / 16000
    low, high = torch.sin(2 * np.pi * 500 * time), torch.sin(2 * np.pi * 6000 * time)
    pictures = Pictures(low + high, GEOMETRY)
    mask = np.asarray(Image.open(decoded(pictures.mask(low), "image/webp")).convert("L"), float)
    rows = mask.mean(1)
    height = PICTURE[1]
    assert rows[height - round(500 / 8000 * height) - 1] > 150 > 100 > rows[height - round(6000 / 8000 * height) - 1]
    whole = np.asarray(Image.open(decoded(pictures.spectrogram(low), "image/webp")).convert("L"), float).mean(1)
    assert whole.argmax() == pytest.approx(height - 500 / 8000 * height, abs=3)


@pytest.mark.parametrize(
    ("data", "stand_beside"),
    [
        ("{corpus: {class_path: UrbanSound8K}, unlabelled_events: 0.0, hierarchy: null}", True),
        ("{corpus: {class_path: UrbanSound8K}, unlabelled_events: 1.0}", False),
        ("{corpus: {class_path: UrbanSound8K}, hierarchy: {alarm: [car_horn, siren]}}", False),
        ("{corpus: {class_path: LibriSpeech}, sources: 3, fewest_sources: 2}", False),
        ("{corpus: {class_path: datamodules.OwnRecordings}}", False),
    ],
)
def test_published_figures_stand_beside_those_of_the_papers_own_mixtures(data, stand_beside, tmp_path):
    (tmp_path / "config.yaml").write_text(f"data: {{class_path: UrbanScenes, init_args: {data}}}")
    assert compared([Run(tmp_path, "strong")]) is stand_beside
    (tmp_path / "config.yaml").rename(tmp_path / "test.yaml")  # what it was tested on counts
    (tmp_path / "config.yaml").write_text("data: {class_path: StemScenes}")
    assert compared([Run(tmp_path, "strong")]) is stand_beside


@pytest.mark.parametrize(
    "count, names",
    [
        (1, ["median"]),
        (2, ["best", "worst"]),
        (5, ["best", "75th percentile", "median", "25th percentile", "worst"]),
    ],
)
def test_mixtures_are_chosen_evenly_from_best_to_worst_once_each(count, names):
    scores = np.random.default_rng(0).permutation(101).astype(float)
    chosen = at_ranks(scores.tolist(), count)
    assert [name for name, _ in chosen] == names
    expected = [50.0] if count == 1 else np.linspace(100, 0, count)
    np.testing.assert_array_equal(scores[[place for _, place in chosen]], expected)
    assert at_ranks([], count) == [] and {place for _, place in at_ranks([1.0], count)} == {0}


def test_drawings_take_the_colours_of_the_page_and_leave_names_alone():
    name = "$x_1$ <b>&"
    groups = {name: {name: np.array([1.0, 2.0, 5.0])}}
    charts = [draw(groups, {name: PALETTE[0]}, "SI-SDR")[0] for draw in (histograms, boxes)]
    for chart in charts:
        assert not re.search(r"#[0-9a-f]{6}(?<!#b0b0b0)|<style|<metadata|font-family|http", chart)
        assert "var(--c0)" in chart and "currentColor" in chart
        assert "$x_1$ &lt;b&gt;&amp;" in chart
        width, height, box = re.search(r' width="([\d.]+)" height="([\d.]+)" viewBox="([^"]+)">', chart).groups()
        assert box == f"0 0 {width} {height}" and 0 < float(height) < float(width) < 600
    ids = [re.findall(r'\sid="([^"]+)"', chart) for chart in charts]
    assert ids[0] and not set(ids[0]) & set(ids[1])
    for chart, own in zip(charts, ids, strict=True):
        assert set(re.findall(r'(?:url\(#|href="#)([^")]+)', chart)) <= set(own)


def test_a_group_without_scores_is_drawn_empty():
    assert "(0)" not in boxes({"nothing": {"frame": np.array([])}}, {"frame": PALETTE[0]}, "SI-SDR")[0]
    assert "<svg" in histograms({"nothing": {"frame": np.array([])}}, {"frame": PALETTE[0]}, "SI-SDR")[0]


def test_the_outermost_bins_count_what_lies_beyond_them():
    shares = bin_shares(np.array([-90.0, 0.5, 1.5, 80.0]), np.array([0.0, 1.0, 2.0]))
    np.testing.assert_array_equal(shares, [50, 50])
    np.testing.assert_array_equal(bin_shares(np.array([]), np.array([0.0, 1.0])), [0])


def test_points_of_a_calibration_are_tenths_of_the_mixtures_that_have_a_confidence(monkeypatch):
    generator = np.random.default_rng(0)
    known, si_sdr, scored = generator.random(40), generator.normal(size=50), generator.permutation(50)[:40]
    confidence = np.full(50, np.nan)
    confidence[scored] = known
    monkeypatch.setattr(charts, "inline_svg", lambda figure, _: figure)
    figure = charts.calibration_chart((np.arange(2), np.arange(2)), confidence, si_sdr, PALETTE[0], "music model")
    (errors,) = figure.axes[0].containers
    tenths = [(confidence[of].mean(), si_sdr[of]) for of in np.split(scored[known.argsort()], 10)]
    expected = [[[x, y.mean() - y.std()], [x, y.mean() + y.std()]] for x, y in tenths]
    np.testing.assert_allclose(np.array(errors.lines[2][0].get_segments()), expected)


@pytest.mark.parametrize("most", [3, 6])
def test_tiles_fill_their_rows_as_evenly_as_can_be(most):
    for count in range(1, 20):
        wide = columns(count, most)
        assert wide <= most
        rows, rows_at_most = -(-count // wide), -(-count // most)
        assert rows == rows_at_most and rows * wide - count < rows


def test_curves_of_a_resumed_training_are_one_by_epoch(tmp_path):
    for number, epochs in ((0, (0, 1)), (1, (2,)), (10, (3,)), (2, ())):
        folder = tmp_path / "curves" / f"version_{number}"
        folder.mkdir(parents=True)
        lines = [f"{epoch},{value},{10 - epoch if value == 2 else ''}" for epoch in epochs for value in (1, 2)]
        (folder / "metrics.csv").write_text("\n".join(["epoch,train_loss,validation_loss", *lines]) + "\n")
    (tmp_path / "curves" / "version_3").mkdir()  # a validation by itself
    (tmp_path / "curves" / "version_3" / "metrics.csv").write_text("epoch,validation_loss\n0,99\n")
    curves = read_curves(Run(tmp_path, "run"))
    np.testing.assert_array_equal(curves["train_loss"], [[1, 2, 3, 4], [1.5] * 4])
    np.testing.assert_array_equal(curves["validation_loss"], [[1, 2, 3, 4], [10, 9, 8, 7]])


def test_models_are_found_in_a_folder_that_was_moved(tmp_path):
    (tmp_path / "speech" / "checkpoints").mkdir(parents=True)
    (tmp_path / "speech" / "checkpoints" / "best.ckpt").touch()
    assert lies_in(tmp_path, "/gone/speech/checkpoints/best.ckpt") == f"{tmp_path}/speech/checkpoints/best.ckpt"
    assert lies_in(tmp_path, "/gone/music/checkpoints/best.ckpt") == "/gone/music/checkpoints/best.ckpt"


def test_estimates_are_of_the_checkpoint_that_was_tested_wherever_the_folder_lies_now(tmp_path, monkeypatch):
    monkeypatch.setattr(mixtures, "load_module", lambda path, *kinds: SimpleNamespace(eval=lambda: str(path)))
    run, best = tmp_path / "frame_3", "checkpoints/best.ckpt"
    for folder in (run, tmp_path / "frame"):
        (folder / "checkpoints").mkdir(parents=True)
        (folder / "checkpoints" / "last.ckpt").touch()

    def loaded(given):
        (run / "test.yaml").write_text(f"model: {{class_path: WeakLabelSeparator}}\nckpt_path: {given}")
        return mixtures.separator_of(Run(run, "frame_3"))

    assert loaded(tmp_path / "frame/checkpoints/last.ckpt") == str(tmp_path / "frame/checkpoints/last.ckpt")
    assert loaded("/gone/frame_3/checkpoints/last.ckpt") == str(run / "checkpoints/last.ckpt")
    assert loaded("/gone/other/checkpoints/best.ckpt") == loaded("null") == str(run / best)


def test_minus_signs_are_those_of_figures_alone():
    shown = with_minus_signs("-1.5 ± 2, (-0.3), model-2, 2-3, [-4], +-5")
    assert shown == "−1.5 ± 2, (−0.3), model-2, 2-3, [−4], +−5"
