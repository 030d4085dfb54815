"""Tells spoken digits apart from WAV files, the spectra being part of the model.

The data is that of `spoken_digits.py`: recordings of ten digits, written to WAV files in a folder for each
digit. The model takes waves as they come from the files: a model that is saved needs nothing else.

    python examples/spoken_digits_files.py --data DIR
"""

import argparse
import tempfile
import time
import wave
from pathlib import Path

import numpy as np

import gridnn as gn
from gridnn import layers

RATE, SAMPLES = 8000, 8000  # a second; shorter recordings end in silence, longer ones are cut
BATCH, EPOCHS = 32, 25


def write_files(source: Path, folder: Path, step: int) -> None:
    """Writes the recordings to ``folder/train`` (every `step`-th of them) and ``folder/test``, by digit."""
    with np.load(source / "fsdd.npz") as data:
        audio, start, length = data["audio"], data["start"], data["length"]
        labels, test = data["label"], data["index"] < 5
    for number, (first, count, digit) in enumerate(zip(start, length, labels, strict=True)):
        if not test[number] and number % step:
            continue
        path = folder / ("test" if test[number] else "train") / str(digit) / f"{number:04}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes(audio[first : first + count].astype("<i2").tobytes())


def network() -> gn.Sequential:
    """Convolutions over an image of frames and frequencies; waves are shifted, spectra hidden in part."""
    return gn.Sequential(
        [
            gn.Input((SAMPLES, 1)),
            layers.RandomTranslation(0.1, fill_mode="constant", interpolation="nearest"),
            layers.STFT(frame_length=256, frame_step=128, expand_dims=True),
            layers.LayerNormalization(axis=(1, 2, 3)),
            layers.RandomErasing(0.7, (0.02, 0.2), 0.0, value_range=(-9, 9)),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.MaxPooling2D((1, 2)),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.GlobalMaxPooling2D(),
            layers.Dropout(0.3),
            layers.Dense(10),
        ],
        seed=0,
    )


def main() -> None:
    """Writes the files, trains the network and prints its accuracy on the test set."""
    parser = argparse.ArgumentParser(description="Conv2D on spectra of spoken digits.")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the folder with fsdd.npz")
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of the data, one epoch: only shows that it runs"
    )
    arguments = parser.parse_args()
    epochs = 1 if arguments.quick else EPOCHS
    with tempfile.TemporaryDirectory() as folder:
        write_files(arguments.data, Path(folder), 10 if arguments.quick else 1)
        x, y = gn.data.audio_folder(Path(folder, "train"), RATE, SAMPLES)
        xt, yt = gn.data.audio_folder(Path(folder, "test"), RATE, SAMPLES)
    model = network()
    model.summary()
    rate = gn.schedules.CosineDecay(2e-3, epochs * -(-len(x) // BATCH))
    model.compile(gn.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    begin, processor = time.perf_counter(), time.process_time()
    model.fit(x, y, batch_size=BATCH, epochs=epochs, seed=0)
    seconds, processor = time.perf_counter() - begin, time.process_time() - processor
    print(f"training: {seconds:.0f} s, {processor:.0f} s of processors")
    result = model.evaluate(xt, yt, verbose=0, return_dict=True)
    print(f"accuracy on {len(xt)} test recordings: {result['accuracy']:.1%}")


if __name__ == "__main__":
    main()
