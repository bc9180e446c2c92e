"""Every option of Lightning's Trainer does what its name says, or is refused in one line before anything runs."""

import inspect

import lightning
import pytest
import torch
import yaml
from lightning import Trainer

from lightning_modules.checkpoint import read_checkpoint
from separatrix import Procedural, ReferenceSeparator, UrbanScenes

# What is left to Lightning, with a value that one training below takes.
LEFT_TO_LIGHTNING = {
    "accelerator": "cpu",
    "devices": "1",
    "num_nodes": 1,
    "strategy": "auto",
    "precision": "32-true",
    "max_epochs": 2,
    "min_epochs": 1,
    "min_steps": 1,
    "max_time": "00:01:00:00",
    "limit_test_batches": 2,
    "limit_predict_batches": 2,
    "log_every_n_steps": 1,
    "enable_model_summary": True,
    "enable_progress_bar": False,
    "num_sanity_val_steps": 1,
    "accumulate_grad_batches": 2,
    "gradient_clip_val": 1.0,
    "gradient_clip_algorithm": "value",
    "deterministic": True,
    "benchmark": False,
    "inference_mode": False,
    "profiler": "simple",
    "detect_anomaly": True,
    "sync_batchnorm": True,
    "reload_dataloaders_every_n_epochs": 1,
    "enable_autolog_hparams": False,
    "limit_val_batches": 2,
}
# Each has a test of its own below.
TESTED = {
    *("logger", "callbacks", "plugins", "fast_dev_run", "max_steps", "limit_train_batches", "overfit_batches"),
    *("val_check_interval", "check_val_every_n_epoch", "enable_checkpointing"),
}
REFUSED = [
    ("fit", {"default_root_dir": "elsewhere"}, "--run"),
    ("fit", {"use_distributed_sampler": True}, "share their mixtures out"),
    ("fit", {"barebones": True}, "neither checkpoints nor lines"),
    ("fit", {"model_registry": "mine"}, "stay in the run's folder"),
    ("fit", {"precision": "64-true"}, "in 32 bits"),
    ("fit", {"precision": "bf16-true"}, "in 32 bits"),
    ("fit", {"precision": "transformer-engine"}, "transformer_engine"),
    ("fit", {"limit_train_batches": 0}, "nothing would be learnt"),
    ("fit", {"limit_train_batches": 0.01}, "Please increase the `limit_train_batches`"),
    ("fit", {"accumulate_grad_batches": 0}, "one batch at least"),
    ("fit", {"val_check_interval": 5}, "less than or equal to the number of the training batches (2)"),
    ("fit", {"strategy": "fsdp"}, "ddp"),
    ("fit", {"plugins.class_path": "lightning.pytorch.plugins.io.TorchCheckpointIO"}, "CheckpointIO"),
    ("test", {"fast_dev_run": True}, "of `fit` only"),
]


def of_trainer(options):
    return {f"trainer.{name}": value for name, value in options.items()}


def words_of(out, name):
    """What stands beside a name, such as `next`, in a command's last lines."""
    return "\n".join(line for line in out.splitlines() if line.startswith(name))


@pytest.fixture
def fit(separatrix, tmp_path):
    """A function that trains with options of the trainer into a folder, which it returns with what was printed."""

    def train(*words, run="run", **options):
        arguments = separatrix.arguments("strong", of_trainer(options))
        outcome = separatrix.succeed("fit", *arguments, "--run", tmp_path / run, *words)
        return tmp_path / run, outcome.out + outcome.err

    yield train
    torch.use_deterministic_algorithms(False)


def test_no_option_is_forgotten():
    refused = {name.split(".")[0] for _, options, _ in REFUSED for name in options}
    assert LEFT_TO_LIGHTNING.keys() | TESTED | refused == inspect.signature(Trainer).parameters.keys()


@pytest.mark.parametrize(("command", "options", "told"), REFUSED)
def test_what_is_not_honoured_is_refused_in_one_line_and_leaves_nothing(command, options, told, separatrix, tmp_path):
    arguments = [*separatrix.arguments("strong", of_trainer(options)), "--run", tmp_path / "run"]
    arguments += ["--ckpt_path", separatrix.best("strong")] if command == "test" else []
    outcome = separatrix.run(command, *arguments)
    (line,) = [line for line in outcome.err.splitlines() if line.startswith("separatrix ")]
    name = next(iter(options)).split(".")[0]
    assert outcome.status == 2 and told in line and ("trainer" in line or name in line)
    assert not (tmp_path / "run").exists()


def test_the_options_of_lightning_reach_it(fit):
    run, out = fit(**LEFT_TO_LIGHTNING)
    written = yaml.safe_load((run / "config.yaml").read_text())["trainer"]
    assert {name: written[name] for name in LEFT_TO_LIGHTNING} == LEFT_TO_LIGHTNING
    # An epoch has two batches, of which one step is made.
    assert read_checkpoint(run / "checkpoints" / "last.ckpt")["global_step"] == 2
    assert "Trainable params" in out and "at most 2 epochs, 1 h 00 min, patience" in out


@pytest.mark.parametrize("options", [{"limit_val_batches": 0}, {"check_val_every_n_epoch": 5}])
def test_without_validation_the_last_epoch_is_kept_and_nothing_is_best(options, fit, separatrix):
    run, out = fit(max_epochs=2, **options)
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["last.ckpt"]
    assert "best so far" not in out and "best.ckpt" not in out
    assert words_of(out, "next").endswith("--ckpt_path last")
    separatrix.succeed(*words_of(out, "next").split()[2:])


def test_curves_go_to_loggers_of_the_users_choice_or_nowhere(fit, tmp_path):
    assert not (fit(logger=False, run="none")[0] / "curves").exists()
    settings = {"logger.class_path": "CSVLogger", "logger.save_dir": tmp_path / "mine"}
    run, _ = fit(**settings, run="mine")
    assert not (run / "curves").exists() and list((tmp_path / "mine").rglob("metrics.csv"))


def test_a_single_callback_is_one_of_several(fit):
    run, out = fit("--trainer.callbacks.class_path", "RichModelSummary", "--trainer.callbacks.max_depth", "2")
    assert (run / "checkpoints" / "last.ckpt").exists() and "network.output" in out


def test_a_trial_run_leaves_nothing(fit):
    run, out = fit(fast_dev_run=True)
    assert not run.exists() and "keeps no checkpoint" in out and not words_of(out, "next")


def test_a_training_that_keeps_no_checkpoint_names_none(fit):
    run, out = fit(enable_checkpointing=False)
    assert not (run / "checkpoints").exists() and "ckpt" not in out


def test_one_batch_learnt_by_heart_is_the_same_every_epoch(fit, separatrix):
    run, _ = fit(overfit_batches=1, max_epochs=3, log_every_n_steps=1)
    (curves,) = run.glob("curves/*/metrics.csv")
    losses = [float(row["train_loss"]) for row in separatrix.rows(curves) if row["train_loss"]]
    assert len(losses) == 3 and losses == sorted(losses, reverse=True)


def test_an_epoch_that_is_cut_short_is_not_kept_and_is_done_again(fit, separatrix):
    through, _ = fit(max_epochs=3, run="through")
    run, out = fit(max_steps=3, max_epochs=9, run="cut")
    assert "epoch 2/2 stopped within it, not kept" in out
    assert read_checkpoint(run / "checkpoints" / "last.ckpt")["epoch"] == 0
    fit("--ckpt_path", "last", max_epochs=3, run="cut")
    for name in ("last.ckpt", "best.ckpt"):
        assert separatrix.same_weights(through / "checkpoints" / name, run / "checkpoints" / name)
    run, out = fit(max_steps=1, max_epochs=9, run="none")
    assert not (run / "checkpoints").exists() and not words_of(out, "next")


def test_no_training_goes_on_from_a_checkpoint_written_within_an_epoch(separatrix, fit, tmp_path):
    own = {"class_path": "ModelCheckpoint", "dirpath": tmp_path / "own", "every_n_train_steps": 1, "save_top_k": -1}
    fit(**{f"callbacks.{name}": value for name, value in own.items()}, val_check_interval=0.5)
    within = tmp_path / "own" / "epoch=0-step=1.ckpt"
    arguments = separatrix.arguments("strong", {"trainer.max_epochs": 2})
    outcome = separatrix.run("fit", *arguments, "--run", tmp_path / "other", "--ckpt_path", within)
    assert outcome.status == 2 and "written within an epoch" in outcome.err.splitlines()[-1]
    separatrix.succeed("test", *separatrix.arguments("strong"), "--run", tmp_path / "test", "--ckpt_path", within)


def test_a_sanity_check_and_reloaded_loaders_change_no_weight(separatrix, fit):
    plain, _ = fit(max_epochs=2, run="plain")
    checked, out = fit(max_epochs=2, num_sanity_val_steps=2, reload_dataloaders_every_n_epochs=1, run="checked")
    assert out.count("validation loss") == 2
    assert separatrix.same_weights(plain / "checkpoints" / "last.ckpt", checked / "checkpoints" / "last.ckpt")


@pytest.mark.parametrize(("interval", "expected"), [("step", 4), ("epoch", 2), (None, 2)])
def test_learning_rates_are_logged_when_their_schedule_may_change_them(interval, expected, fit, separatrix):
    schedule = ["--model.scheduler", "StepLR", "--model.scheduler.step_size", "1", "--model.scheduler_interval"]
    run, _ = fit(*([] if interval is None else [*schedule, interval]), max_epochs=2, log_every_n_steps=1)
    (curves,) = run.glob("curves/*/metrics.csv")
    rates = [row["lr-Adam"] for row in separatrix.rows(curves) if row["lr-Adam"]]
    assert len(rates) == expected and len(set(rates)) == (1 if interval is None else expected)


def test_a_plain_trainer_returns_the_scores_that_the_command_writes(separatrix, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    separatrix.succeed("test", *separatrix.arguments("gate"), "--run", "gate")
    overall = {
        row["quantity"]: float(row["mean"])
        for row in separatrix.rows(tmp_path / "gate" / "summary.csv")
        if row["label"] == "overall"
    }
    settings = {name.removeprefix("data."): yaml.safe_load(value) for name, value in separatrix.scenes.items()}
    geometry = {"sample_rate": 8000, "window": 256, "hop": 128}
    corpus = Procedural(clips_per_class=8, folds=3, sample_rate=8000)
    data = UrbanScenes(corpus, bank_folder=str(separatrix.banks), **geometry, **settings)
    trainer = lightning.Trainer(logger=False, enable_progress_bar=False, accelerator="cpu")
    (scores,) = trainer.test(ReferenceSeparator("gate", classes=data.classes, **geometry), datamodule=data)
    expected = {"test_si_sdr_db": overall["output"], "test_improvement_db": overall["improvement"]}
    assert scores == pytest.approx(expected, abs=1e-5)
