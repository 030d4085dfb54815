"""The common architectures: published numbers of weights and multiply-adds, and that they train."""

import numpy as np
import pytest

import gridnn as gn
from gridnn import layers, models


def trainable(model):
    return sum(int(np.prod(info.shape)) for info in model.network.weights if info.trainable)


def multiply_adds(model):
    return sum(count or 0 for count in model.network.macs)


# LeNet-5: sum of its layers, as textbooks print it. VGG, GoogLeNet (Caffe's deployed network), ResNet:
# weights that torchvision and Caffe publish. MobileNet: Keras' and the paper's 569 million multiply-adds.
# U-Net with one output: as Keras prints it. TCN: 70 thousand in the paper for either task; weight
# normalization is left out. FCN, ResNet and InceptionTime for series: those that the program of Ismail Fawaz
# and others builds in Keras for one channel and two classes.
PUBLISHED = {
    "lenet5": (models.lenet5, {}, 61_706, 61_706, 416_520),
    "googlenet": (models.googlenet, {}, 6_998_552, 6_998_552, None),
    "resnet18": (models.resnet, {"depth": 18}, 11_699_112, 11_689_512, 1_814_073_344),
    "resnet34": (models.resnet, {"depth": 34}, 21_814_696, 21_797_672, 3_663_761_408),
    "resnet50": (models.resnet, {"depth": 50}, 25_610_152, 25_557_032, 3_857_973_248),
    "resnet20": (
        models.resnet,
        {"depth": 20, "input_shape": (32, 32, 3), "classes": 10},
        None,
        272_474,
        None,
    ),
    "mobilenet": (models.mobilenet, {}, 4_253_864, 4_231_976, 568_740_352),
    "unet": (models.unet, {"classes": 1}, 31_030_593, 31_030_593, None),
    "tcn": (models.tcn, {}, 66_510, 66_510, None),
    "tcn, adding": (
        models.tcn,
        {"input_shape": (600, 2), "classes": 1, "filters": 24, "kernel_size": 8},
        69_985,
        69_985,
        None,
    ),
    "fcn": (models.fcn, {}, 265_986, 264_962, None),
    "resnet1d": (models.resnet1d, {}, 506_818, 504_258, None),
    "inception_time": (models.inception_time, {}, 422_498, 420_450, None),
    "vgg16": (models.vgg, {"depth": 16}, 138_357_544, 138_357_544, 15_470_264_320),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_numbers(name):
    make, options, weights, learned, work = PUBLISHED[name]
    model = make(**options)
    assert trainable(model) == learned
    if weights is not None:
        assert model.count_params() == weights
    if work is not None:
        assert multiply_adds(model) == work


# Table 1 of "Going Deeper with Convolutions": channels and size of the input, arguments, weights in units
# of 1024 and multiply-adds in units of a million. As printed, but for three numbers that do not follow from
# the table's own columns: 463 at 4c (the columns make 498), 1072 and 54 at 5a (they make 1019 and 51).
MODULES = {
    "3a": (192, 28, (64, (96, 128), (16, 32), 32), 159, 128),
    "3b": (256, 28, (128, (128, 192), (32, 96), 64), 380, 304),
    "4a": (480, 14, (192, (96, 208), (16, 48), 64), 364, 73),
    "4b": (512, 14, (160, (112, 224), (24, 64), 64), 437, 88),
    "4c": (512, 14, (128, (128, 256), (24, 64), 64), 498, 100),
    "4d": (512, 14, (112, (144, 288), (32, 64), 64), 580, 119),
    "4e": (528, 14, (256, (160, 320), (32, 128), 128), 840, 170),
    "5a": (832, 7, (256, (160, 320), (32, 128), 128), 1019, 51),
    "5b": (832, 7, (384, (192, 384), (48, 128), 128), 1388, 71),
}


@pytest.mark.parametrize("name", MODULES)
def test_inception_modules_agree_with_the_table(name):
    channels, size, arguments, weights, work = MODULES[name]
    model = gn.Sequential([gn.Input((size, size, channels)), models.inception(*arguments)])
    one, three, five, pool = arguments
    assert model.output_shape == (None, size, size, one + three[1] + five[1] + pool)
    assert model.count_params() / 1024 == pytest.approx(weights, rel=0.02)
    assert multiply_adds(model) / 1e6 == pytest.approx(work, rel=0.02)


SMALL = {
    "lenet5": (lambda: models.lenet5(), (32, 32, 1), (10,)),
    "vgg": (lambda: models.vgg(11, (32, 32, 3), 4, width=4, units=8, dropout=0.0), (32, 32, 3), (4,)),
    "inception": (
        lambda: gn.Sequential(
            [
                gn.Input((8, 8, 3)),
                models.inception(2, (2, 3), (1, 2), 1),
                layers.GlobalAveragePooling2D(),
                layers.Dense(4),
            ]
        ),
        (8, 8, 3),
        (4,),
    ),
    "resnet18": (lambda: models.resnet(18, (32, 32, 3), 4, width=4), (32, 32, 3), (4,)),
    "resnet50": (lambda: models.resnet(50, (32, 32, 3), 4, width=2), (32, 32, 3), (4,)),
    "resnet20": (lambda: models.resnet(20, (16, 16, 3), 4, width=4), (16, 16, 3), (4,)),
    "mobilenet": (lambda: models.mobilenet((32, 32, 3), 4, alpha=0.125), (32, 32, 3), (4,)),
    "unet, series": (lambda: models.unet((32, 2), 3, width=4, depth=2), (32, 2), (32, 3)),
    "unet, images": (
        lambda: models.unet((16, 16, 1), 2, width=4, depth=2, normalize=True),
        (16, 16, 1),
        (16, 16, 2),
    ),
    "unet, volumes": (lambda: models.unet((8, 8, 8, 1), 2, width=2, depth=1), (8, 8, 8, 1), (8, 8, 8, 2)),
    "fcn": (lambda: models.fcn((20, 2), 3, filters=(4, 8, 4)), (20, 2), (3,)),
    "resnet1d": (lambda: models.resnet1d((20, 4), 3, width=4), (20, 4), (3,)),
    "inception_time": (lambda: models.inception_time((20, 2), 3, filters=2, depth=4), (20, 2), (3,)),
    "tcn": (lambda: models.tcn((40, 2), 3, filters=4, kernel_size=3, levels=3, dropout=0.1), (40, 2), (3,)),
    "tcn, every step": (lambda: models.tcn((None, 2), 3, levels=2, every_step=True), (20, 2), (20, 3)),
}


@pytest.mark.parametrize("name", SMALL)
def test_they_train(name):
    make, shape, outputs = SMALL[name]
    gn.set_random_seed(0)
    model = make()
    assert model.predict(np.zeros((2, *shape)), verbose=0).shape == (2, *outputs)
    random = np.random.default_rng(0)
    x, y = random.normal(size=(8, *shape)), random.integers(0, outputs[-1], (8, *outputs[:-1]))
    model.compile(gn.optimizers.Adam(1e-2), "sparse_categorical_crossentropy")
    history = model.fit(x, y, epochs=8, verbose=0, seed=0)
    assert history.history["loss"][-1] < history.history["loss"][0]


def test_a_tcn_sees_what_its_docstring_says_and_no_future():
    model = models.tcn((200, 1), 1, filters=8, kernel_size=3, levels=4, every_step=True)
    x = np.random.default_rng(0).normal(size=(1, 200, 1))
    touched = x.copy()
    touched[0, 100] += 10
    changed = np.flatnonzero((model(x) != model(touched))[0, :, 0])
    assert changed.min() == 100
    assert changed.max() == 100 + 2 * (3 - 1) * (2**4 - 1)


def test_a_unet_takes_every_size():
    model = models.unet((None, None, 1), 2, width=2, depth=2)
    assert model.predict(np.zeros((1, 12, 20, 1)), verbose=0).shape == (1, 12, 20, 2)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="must be one of 11, 13, 16, 19"):
        models.vgg(12)
    with pytest.raises(ValueError, match="depth=19"):
        models.resnet(19)
    with pytest.raises(ValueError, match="one to three spatial axes"):
        models.unet((3,))
    with pytest.raises(ValueError, match=r"must be \(steps, channels\)"):
        models.resnet1d((8, 8, 1))
    with pytest.raises(ValueError, match="a number for every convolution"):
        models.fcn((8, 1), filters=(4, 4))
    with pytest.raises(ValueError, match="every_step"):
        models.tcn((None, 1))
