"""Makes the files of docs/how-to/transfer.md: `make.py keras` with Keras 3.15, `make.py torch` with PyTorch.

Both are one small network that reads the digits of `gridnn.datasets.digits`, trained by the library whose
file it is. PyTorch's needs the package safetensors as well.
"""

import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
FILTERS = (16, 16, 32)


def digits() -> tuple[np.ndarray, np.ndarray]:
    """The training scans, from the file in the package: gridnn need not be built."""
    with np.load(HERE.parents[2] / "python" / "gridnn" / "assets" / "digits.npz") as file:
        return file["images"][:1437, ..., np.newaxis], file["labels"][:1437]


def by_keras() -> None:
    """`digits.keras`: scans of 0 to 16 in, scores of ten digits out."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)

    def network() -> keras.Model:
        stack = [keras.Input((8, 8, 1)), layers.Rescaling(1 / 16)]
        for filters in FILTERS:
            stack += [
                layers.Conv2D(filters, 3, padding="same"),
                layers.BatchNormalization(momentum=0.9),
                layers.ReLU(),
            ]
        return keras.Sequential([*stack, layers.GlobalMaxPooling2D(), layers.Dense(10)], name="digits")

    model = network()
    model.compile(keras.optimizers.Adam(3e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(*digits(), epochs=15, verbose=2)
    bare = network()  # without the state of the optimizer, which would be two thirds of the file
    bare.set_weights(model.get_weights())
    bare.save(HERE / "digits.keras")


def by_torch() -> None:
    """`digits.safetensors`: the state dict of the class on the page; inputs are 0 to 1, channels first."""
    import torch
    from safetensors.torch import save_file
    from torch import nn

    torch.manual_seed(0)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            a, b, c = FILTERS
            self.conv1, self.bn1 = nn.Conv2d(1, a, 3, padding=1), nn.BatchNorm2d(a)
            self.conv2, self.bn2 = nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b)
            self.conv3, self.bn3 = nn.Conv2d(b, c, 3, padding=1), nn.BatchNorm2d(c)
            self.fc = nn.Linear(c, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for conv, bn in ((self.conv1, self.bn1), (self.conv2, self.bn2), (self.conv3, self.bn3)):
                x = bn(conv(x)).relu()
            return self.fc(x.amax(dim=(2, 3)))

    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    x, y = digits()
    x, y = torch.tensor(x, dtype=torch.float32).permute(0, 3, 1, 2) / 16, torch.tensor(y, dtype=torch.int64)
    for _ in range(15):
        for batch in torch.randperm(len(x)).split(32):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(x[batch]), y[batch])
            loss.backward()
            optimizer.step()
        print(loss.item())
    save_file(net.state_dict(), HERE / "digits.safetensors")


if __name__ == "__main__":
    {"keras": by_keras, "torch": by_torch}[sys.argv[1]]()
