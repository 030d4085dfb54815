"""`OptunaPruning`, against Optuna itself."""

import copy
import pickle

import numpy as np
import pytest

pytest.importorskip("optuna")

import optuna

import gridnn as gn
from gridnn import layers
from gridnn.callbacks import OptunaPruning

pytestmark = pytest.mark.one_tier

X = np.random.default_rng(0).normal(size=(40, 6, 2))
Y = X[:, 2, 0] + X[:, 3, 1]


@pytest.fixture
def study():
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(
        sampler=optuna.samplers.RandomSampler(seed=0),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=1),
    )


def fitted(trial, monitor="val_loss"):
    rate = trial.suggest_float("rate", 1e-6, 1e-1, log=True)
    model = gn.Sequential([gn.Input((6, 2)), layers.Flatten(), layers.Dense(1)], seed=0)
    model.compile(gn.optimizers.Adam(rate), "mse")
    callbacks = [OptunaPruning(trial, monitor)]
    return model.fit(X, Y, epochs=6, validation_split=0.25, callbacks=callbacks, verbose=0, seed=0)


def test_a_study_prunes(study):
    study.optimize(lambda trial: fitted(trial).history["val_loss"][-1], n_trials=12)
    states = [trial.state for trial in study.trials]
    assert optuna.trial.TrialState.PRUNED in states
    assert optuna.trial.TrialState.COMPLETE in states
    for trial in study.trials:
        values = trial.intermediate_values
        assert list(values) == list(range(len(values)))
        if trial.state == optuna.trial.TrialState.COMPLETE:
            assert trial.value == values[5]
        else:
            assert len(values) < 6


def test_the_value_is_named(study):
    trial = study.ask()
    found = fitted(trial, "loss")
    assert list(study.trials[0].intermediate_values.values()) == found.history["loss"]
    with pytest.warns(UserWarning, match="OptunaPruning watches `val_accuracy`, which is not available"):
        fitted(study.ask(), "val_accuracy")


def test_copies_report_to_the_same_trial(study):
    trial = study.ask()
    callback = OptunaPruning(trial)
    assert copy.deepcopy(callback).trial is trial
    assert pickle.loads(pickle.dumps(callback)).monitor == "val_loss"


def test_in_an_estimator(study):
    pytest.importorskip("sklearn")
    from gridnn.sklearn import CNNRegressor

    def objective(trial):
        width = trial.suggest_int("width", 2, 6)
        options = {"epochs": 4, "early_stopping": True, "model__width": width, "random_state": 0}
        return CNNRegressor(callbacks=[OptunaPruning(trial)], **options).fit(X, Y).score(X, Y)

    study.optimize(objective, n_trials=3)
    assert all(trial.intermediate_values for trial in study.trials)
