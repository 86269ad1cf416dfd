"""The data sets known by name: what they hold, which files they are, how to get them. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

Defaults = Mapping[str, Mapping[str, object]]
"""Settings that suit a data set: section of the config -> field -> value."""

KindDefaults = Mapping[str, Defaults]
"""Such settings by kind of run."""

_IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
_IDX_TEST = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSource:
    """Facts about one data set."""

    name: str
    title: str
    channels: int
    size: int
    """Side of its square images, px."""
    classes: int
    train: int
    """Training images, those held out for validation included."""
    test: int
    """Test images."""
    peak: int = 255
    """Pixel value that counts as 1."""
    layouts: tuple[tuple[str, ...], ...] = ()
    """Alternative sets of files, relative to a data directory; one complete set is enough.
    None at all: the data set comes with a library."""
    folders: bool = False
    """The layouts name no files but two folders of images by class, to learn from and to test,
    which are read from disk batch by batch."""
    mean: tuple[float, ...] | None = None
    """Mean of every channel, 0 to 1, where it is known; None: measured."""
    deviation: tuple[float, ...] | None = None
    """Likewise the standard deviation."""
    how_to_get: str
    licence: str
    flip: bool = False
    """Augmentation: mirror left and right."""
    shift: int = 0
    """Augmentation: move by up to so many px."""
    crop: bool = False
    """Augmentation: cut out a random piece and scale it."""
    defaults: KindDefaults = field(default_factory=dict)
    """Settings where they differ from the config's own defaults, by kind of run."""


def _idx_layouts(flat: str, raw: str) -> tuple[tuple[str, ...], ...]:
    """Debian's package and the original files lie flat; torchvision unpacks into `raw`."""
    files = _IDX + _IDX_TEST
    return (
        tuple(f"{flat}/{name}.gz" for name in files),
        tuple(f"{flat}/{name}" for name in files),
        tuple(f"{raw}/{name}" for name in files),
        tuple(f"{raw}/{name}.gz" for name in files),
    )


def _cifar_layouts(name: str, batches: str, files: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """The archive unpacks to a folder of its own, in the directory that torchvision is given."""
    return tuple(tuple(f"{top}{batches}/{file}" for file in files) for top in (f"{name}/", ""))


def _torchvision(name: str, folder: str, call: str) -> str:
    return (
        f"python -c 'from torchvision.datasets import {name}; {call.format(root=f'DIR{folder}')}' "
        "with your data directory for DIR"
    )


_MNIST_LIKE: KindDefaults = {
    "grow": {
        "optim": {"batch": 128, "learning_rate": 0.05},
        "growth": {"round_epochs": 1, "max_rounds": 12},
        "tune": {"epochs": 12, "pruned_epochs": 8},
    },
}
_COLOUR: KindDefaults = {
    "grow": {
        "optim": {"batch": 128, "learning_rate": 0.05},
        "growth": {"round_epochs": 5, "max_rounds": 12},
        "tune": {"epochs": 40, "pruned_epochs": 40},
    },
}
_IMAGENET: KindDefaults = {
    # Source: docs/method.md, "Recipes", the ImageNet flow of the reference.
    "train": {
        "optim": {"batch": 256, "learning_rate": 0.1, "weight_decay": 1e-4, "mu": 1000.0},
        "twin": {"threshold": 1.0, "weight_threshold": 1.0, "scaling": "none"},
        "train": {"epochs": 100, "drops": (30, 60, 90), "factor": 0.1},
    },
    # Not measured: nobody has grown on ImageNet with this project yet.
    "grow": {
        "optim": {"batch": 256, "learning_rate": 0.1, "weight_decay": 1e-4},
        "growth": {"multiple": 8, "round_epochs": 3, "max_rounds": 10},
        "tune": {"epochs": 60, "pruned_epochs": 30},
    },
}

_ALL = (
    DataSource(
        name="digits",
        title="Handwritten digits of the UCI repository, as bundled with scikit-learn",
        channels=1,
        size=8,
        classes=10,
        train=1438,
        test=359,
        peak=16,
        how_to_get="it comes with scikit-learn",
        licence="CC BY 4.0",
        shift=1,
        defaults={
            "grow": {
                "optim": {"batch": 32, "learning_rate": 0.05},
                "growth": {"round_epochs": 10, "max_rounds": 4},
                "tune": {"epochs": 10, "pruned_epochs": 10},
            },
        },
    ),
    DataSource(
        name="fashion-mnist",
        title="Fashion-MNIST: articles of clothing",
        channels=1,
        size=28,
        classes=10,
        train=60000,
        test=10000,
        layouts=_idx_layouts("fashion-mnist", "FashionMNIST/raw"),
        how_to_get="apt-get install dataset-fashion-mnist, or "
        + _torchvision("FashionMNIST", "", 'FashionMNIST("{root}", download=True)'),
        licence="MIT",
        flip=True,
        shift=2,
        defaults=_MNIST_LIKE,
    ),
    DataSource(
        name="mnist",
        title="MNIST: handwritten digits",
        channels=1,
        size=28,
        classes=10,
        train=60000,
        test=10000,
        layouts=_idx_layouts("mnist", "MNIST/raw"),
        how_to_get=_torchvision("MNIST", "", 'MNIST("{root}", download=True)'),
        licence="CC BY-SA 3.0",
        shift=2,
        defaults=_MNIST_LIKE,
    ),
    DataSource(
        name="cifar10",
        title="CIFAR-10: ten classes of small photographs",
        channels=3,
        size=32,
        classes=10,
        train=50000,
        test=10000,
        layouts=_cifar_layouts(
            "cifar10",
            "cifar-10-batches-py",
            (*(f"data_batch_{part}" for part in range(1, 6)), "test_batch", "batches.meta"),
        ),
        how_to_get=_torchvision("CIFAR10", "/cifar10", 'CIFAR10("{root}", download=True)'),
        licence="none stated; cite Krizhevsky 2009",
        flip=True,
        shift=4,
        defaults=_COLOUR,
    ),
    DataSource(
        name="cifar100",
        title="CIFAR-100: a hundred classes of small photographs",
        channels=3,
        size=32,
        classes=100,
        train=50000,
        test=10000,
        layouts=_cifar_layouts("cifar100", "cifar-100-python", ("train", "test", "meta")),
        how_to_get=_torchvision("CIFAR100", "/cifar100", 'CIFAR100("{root}", download=True)'),
        licence="none stated; cite Krizhevsky 2009",
        flip=True,
        shift=4,
        defaults=_COLOUR,
    ),
    DataSource(
        name="svhn",
        title="SVHN: house numbers",
        channels=3,
        size=32,
        classes=10,
        train=73257,
        test=26032,
        layouts=(("svhn/train_32x32.mat", "svhn/test_32x32.mat"),),
        how_to_get=_torchvision(
            "SVHN", "/svhn", '[SVHN("{root}", part, download=True) for part in ("train", "test")]'
        ),
        licence="non-commercial use only; cite Netzer et al. 2011",
        shift=2,
        defaults=_COLOUR,
    ),
    DataSource(
        name="imagenet",
        title="ImageNet (ILSVRC 2012): a thousand classes of photographs",
        channels=3,
        size=224,
        classes=1000,
        train=1281167,
        test=50000,
        layouts=(("imagenet/train", "imagenet/val"),),
        folders=True,
        # Source: torchvision's pretrained models, which everybody who uses ImageNet follows.
        mean=(0.485, 0.456, 0.406),
        deviation=(0.229, 0.224, 0.225),
        how_to_get="ask for it at image-net.org and unpack it to imagenet/train/<class>/ and "
        "imagenet/val/<class>/ in your data directory, see docs/data.md",
        licence="non-commercial research use only; cite Russakovsky et al. 2015",
        flip=True,
        crop=True,
        defaults=_IMAGENET,
    ),
)

SOURCES: Mapping[str, DataSource] = MappingProxyType({source.name: source for source in _ALL})
"""Every data set known by name, in the order in which they are offered."""

FOLDER_DEFAULTS: KindDefaults = _COLOUR
"""What suits a folder of images by class, of which nothing else is known."""
