"""Callbacks of one's own: what they hear, stopping at the least loss, a schedule of learning rates."""

import keras
import numpy as np
from samples import digits

(x_train, y_train), (x_test, y_test) = digits(256, seed=1), digits(64, seed=2)
x_train = x_train.reshape(-1, 400).astype("float32") / 255
x_test = x_test.reshape(-1, 400).astype("float32") / 255


def get_model():
    model = keras.Sequential()
    model.add(keras.layers.Dense(16, input_dim=400, activation="relu"))
    model.add(keras.layers.Dense(1))
    model.compile(
        optimizer=keras.optimizers.RMSprop(learning_rate=0.001),
        loss="mean_squared_error",
        metrics=["mean_absolute_error"],
    )
    return model


class CustomCallback(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.heard = []

    def on_train_begin(self, logs=None):
        self.heard.append(f"training begins: {sorted(logs or {})}")

    def on_train_end(self, logs=None):
        self.heard.append(f"training ends: {sorted(logs)}")

    def on_epoch_begin(self, epoch, logs=None):
        self.heard.append(f"epoch {epoch} begins: {sorted(logs or {})}")

    def on_epoch_end(self, epoch, logs=None):
        self.heard.append(f"epoch {epoch} ends: {sorted(logs)}")

    def on_test_begin(self, logs=None):
        self.heard.append("testing begins")

    def on_test_end(self, logs=None):
        self.heard.append(f"testing ends: {sorted(logs)}")

    def on_predict_begin(self, logs=None):
        self.heard.append("prediction begins")

    def on_train_batch_begin(self, batch, logs=None):
        self.heard.append(f"batch {batch} begins")

    def on_train_batch_end(self, batch, logs=None):
        self.heard.append(f"batch {batch} ends: {sorted(logs)}")

    def on_test_batch_end(self, batch, logs=None):
        self.heard.append(f"batch {batch} of testing ends: {sorted(logs)}")


class EarlyStoppingAtMinLoss(keras.callbacks.Callback):
    """Stops when the loss is at its least, and puts the weights of then back."""

    def __init__(self, patience=0):
        super().__init__()
        self.patience = patience
        self.best_weights = None

    def on_train_begin(self, logs=None):
        self.wait = 0
        self.stopped_epoch = 0
        self.best = np.inf

    def on_epoch_end(self, epoch, logs=None):
        current = logs.get("loss")
        if np.less(current, self.best):
            self.best = current
            self.wait = 0
            self.best_weights = self.model.get_weights()
        else:
            self.wait += 1
            if self.wait >= self.patience:
                self.stopped_epoch = epoch
                self.model.stop_training = True
                print("Restoring model weights from the end of the best epoch.")
                self.model.set_weights(self.best_weights)


class CustomLearningRateScheduler(keras.callbacks.Callback):
    """Asks `schedule` for the learning rate of every epoch."""

    def __init__(self, schedule):
        super().__init__()
        self.schedule = schedule

    def on_epoch_begin(self, epoch, logs=None):
        if not hasattr(self.model.optimizer, "learning_rate"):
            raise ValueError('Optimizer must have a "learning_rate" attribute.')
        lr = float(np.asarray(self.model.optimizer.learning_rate))
        scheduled_lr = self.schedule(epoch, lr)
        self.model.optimizer.learning_rate = scheduled_lr
        print(f"\nEpoch {epoch}: Learning rate is {float(np.array(scheduled_lr))}.")


def lr_schedule(epoch, lr):
    return lr * 0.5 if epoch == 1 else lr


model = get_model()
listener = CustomCallback()
history = model.fit(
    x_train, y_train, batch_size=64, epochs=2, verbose=0, validation_split=0.5, callbacks=[listener]
)
model.evaluate(x_test, y_test, batch_size=64, verbose=0, callbacks=[listener])
print("\n".join(listener.heard))

second = get_model()
second.fit(
    x_train,
    y_train,
    batch_size=64,
    steps_per_epoch=4,
    epochs=2,
    verbose=0,
    callbacks=[EarlyStoppingAtMinLoss(), CustomLearningRateScheduler(lr_schedule)],
)
third = get_model()
printing = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch, logs["loss"]))
third.fit(x_train, y_train, batch_size=64, epochs=2, verbose=0, callbacks=[printing])
results = {"heard": listener.heard, "rate": float(np.asarray(second.optimizer.learning_rate))}
