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
    **{"accelerator": "cpu", "devices": "1", "num_nodes": 1, "strategy": "auto", "precision": "32-true"},
    **{"max_epochs": 2, "min_epochs": 1, "min_steps": 1, "max_time": "00:01:00:00", "accumulate_grad_batches": 2},
    **{"limit_val_batches": 2, "limit_test_batches": 2, "limit_predict_batches": 2, "log_every_n_steps": 1},
    **{"enable_model_summary": True, "enable_progress_bar": False, "num_sanity_val_steps": 1, "deterministic": True},
    **{"gradient_clip_val": 1.0, "gradient_clip_algorithm": "value", "benchmark": False, "inference_mode": False},
    **{"profiler": "simple", "detect_anomaly": True, "sync_batchnorm": True, "enable_autolog_hparams": False},
    "reload_dataloaders_every_n_epochs": 1,
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
    ("fit", {"precision": "bf16-true"}, "in 32 bits"),
    ("fit", {"precision": "transformer-engine"}, "transformer_engine"),
    ("fit", {"limit_train_batches": 0}, "nothing would be learnt"),
    ("fit", {"limit_train_batches": 0.01}, "Please increase the `limit_train_batches`"),
    ("fit", {"accumulate_grad_batches": 0}, "one batch at least"),
    ("fit", {"val_check_interval": 5}, "less than or equal to the number of the training batches (2)"),
    ("fit", {"strategy": "fsdp"}, "ddp"),
    ("fit", {"strategy": "ddp_spawn"}, "starts ranks as copies of this process; ddp as commands"),
    ("fit", {"plugins.class_path": "lightning.pytorch.plugins.io.TorchCheckpointIO"}, "CheckpointIO"),
    ("test", {"fast_dev_run": True}, "of `fit` only"),
]


def of_trainer(options):
    return {f"trainer.{name}": value for name, value in options.items()}


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


def test_without_validation_the_last_epoch_is_kept_and_nothing_is_best(fit, separatrix):
    run, out = fit(max_epochs=2, check_val_every_n_epoch=5)
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["last.ckpt"]
    assert "best so far" not in out and "best.ckpt" not in out
    (words,) = [line for line in out.replace(" \\\n", " ").splitlines() if line.startswith("next")]
    assert words.endswith("--ckpt_path last")
    separatrix.succeed(*words.split()[2:])


def test_curves_go_to_loggers_of_the_users_choice_and_a_training_may_keep_no_checkpoint(fit, tmp_path):
    settings = {"logger.class_path": "CSVLogger", "logger.save_dir": tmp_path / "mine"}
    callback = ["--trainer.callbacks.class_path", "RichModelSummary", "--trainer.callbacks.max_depth", "2"]
    run, out = fit(*callback, **settings, enable_checkpointing=False, overfit_batches=1)
    assert list(run.rglob("curves/*/metrics.csv")) and list((tmp_path / "mine").rglob("metrics.csv"))
    assert not (run / "checkpoints").exists() and "ckpt" not in out and "network.output" in out
    settings["logger.save_dir"] = tmp_path / "alone"
    run, _ = fit("--logger", "none", **settings, overfit_batches=1, run="none")
    assert not (run / "curves").exists() and list((tmp_path / "alone").rglob("metrics.csv"))


@pytest.mark.parametrize(
    ("logger", "told"),
    [
        ("faults.NoServer", "no NoServer could be made (no server at localhost)"),
        ("faults.NoAccount", "no NoAccount could be made (ConnectionError)"),
        ("CometLogger", "no CometLogger could be made (Requirement 'comet-ml"),  # its package is not there
    ],
)
def test_a_logger_that_cannot_be_made_is_refused_in_one_line(logger, told, separatrix, tmp_path):
    words = ["--trainer.logger", logger, "--run", tmp_path / "run"]
    outcome = separatrix.run("fit", *separatrix.arguments("strong"), *words)
    assert outcome.status == 2 and outcome.err.splitlines()[-1].startswith(f"separatrix fit: --trainer.logger: {told}")
    assert not (tmp_path / "run").exists()


def test_a_trial_run_leaves_nothing(fit):
    run, out = fit(fast_dev_run=True)
    assert not run.exists() and "keeps no checkpoint" in out and "\nnext" not in out


def test_an_epoch_that_is_cut_short_is_not_kept_and_is_done_again(fit, separatrix):
    # A check before training and loaders made anew change no weight.
    through, _ = fit(max_epochs=2, num_sanity_val_steps=2, reload_dataloaders_every_n_epochs=1, run="through")
    run, out = fit(max_steps=3, max_epochs=9, run="cut")
    assert "epoch 2/2 stopped within it, not kept" in out
    assert read_checkpoint(run / "checkpoints" / "last.ckpt")["epoch"] == 0
    fit("--ckpt_path", "last", max_epochs=2, run="cut")
    for name in ("last.ckpt", "best.ckpt"):
        assert separatrix.same_weights(through / "checkpoints" / name, run / "checkpoints" / name)
    run, out = fit(max_steps=1, max_epochs=9, run="none")
    assert not (run / "checkpoints").exists() and "\nnext" not in out


def test_no_training_goes_on_from_a_checkpoint_written_within_an_epoch(separatrix, fit, tmp_path):
    own = {"class_path": "ModelCheckpoint", "dirpath": tmp_path / "own", "every_n_train_steps": 1, "save_top_k": -1}
    fit(**{f"callbacks.{name}": value for name, value in own.items()}, val_check_interval=0.5)
    within = tmp_path / "own" / "epoch=0-step=1.ckpt"
    arguments = separatrix.arguments("strong", {"trainer.max_epochs": 2})
    outcome = separatrix.run("fit", *arguments, "--run", tmp_path / "other", "--ckpt_path", within)
    assert outcome.status == 2 and "written within an epoch" in outcome.err.splitlines()[-1]
    separatrix.succeed("test", *separatrix.arguments("strong"), "--run", tmp_path / "test", "--ckpt_path", within)


def test_rates_are_logged_at_every_step_where_their_schedule_may_change_them_else_once_an_epoch(fit, separatrix):
    schedule = ["--model.scheduler", "StepLR", "--model.scheduler.step_size", "1"]
    for words, number in ((schedule, 2), ([*schedule, "--model.scheduler_interval", "step"], 4)):
        run, _ = fit(*words, run=f"run{number}", max_epochs=2, log_every_n_steps=1)
        (curves,) = run.glob("curves/*/metrics.csv")
        assert len([row for row in separatrix.rows(curves) if row["lr-Adam"]]) == number


def test_a_plain_trainer_returns_the_scores_that_the_command_writes(separatrix, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    separatrix.succeed("test", *separatrix.arguments("oracle_activity_mask"), "--run", "oracle_activity_mask")
    overall = {
        row["quantity"]: float(row["mean"])
        for row in separatrix.rows(tmp_path / "oracle_activity_mask" / "summary.csv")
        if row["label"] == "overall"
    }
    settings = {name.removeprefix("data."): yaml.safe_load(value) for name, value in separatrix.scenes.items()}
    geometry = {"sample_rate": 8000, "window": 256, "hop": 128}
    corpus = Procedural(clips_per_class=8, folds=3, sample_rate=8000)
    data = UrbanScenes(corpus, bank_folder=str(separatrix.banks), **geometry, **settings)
    trainer = lightning.Trainer(logger=False, enable_progress_bar=False, accelerator="cpu")
    (scores,) = trainer.test(
        ReferenceSeparator("oracle_activity_mask", classes=data.classes, **geometry), datamodule=data
    )
    expected = {"test_si_sdr_db": overall["output"], "test_improvement_db": overall["improvement"]}
    assert scores == pytest.approx(expected, abs=1e-5)
