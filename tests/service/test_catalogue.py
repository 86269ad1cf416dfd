import pytest

from service.catalogue import CHANNELS, CLASSES, Catalogue
from service.spec.jobs import KIND_NAMES, GrowSpec, read_spec
from worker.training import backbones


def test_every_layer_reads_and_makes_groups_that_there_are(catalogue: Catalogue) -> None:
    for backbone in catalogue.backbones.values():
        groups = set(backbone.standard_widths)
        for stem in backbone.stems.values():
            made = {name for layer in stem.outline.layers for name, _ in layer.makes[1]}
            read = {name for layer in stem.outline.layers for name, _ in layer.reads[1]}
            assert made == groups | {CLASSES}
            assert read <= groups | {CHANNELS}
        assert backbone.fixed.keys() <= groups


def test_defaults_are_fields_of_a_spec_and_in_their_range(catalogue: Catalogue) -> None:
    every = [dataset.defaults for dataset in catalogue.datasets.values()]
    job = "0190f0f0-0000-7000-8000-000000000000"
    needed: dict[str, dict[str, object]] = {
        "prune": {"source": {"job": job}, "pruning": {"percent": 50}},
        "visualise": {"source": {"job": job}},
        "export": {"source": {"job": job}},
    }
    for defaults in [*every, catalogue.folder_defaults]:
        assert set(defaults) == set(KIND_NAMES)
        for kind, sections in defaults.items():
            asked = {"kind": kind, "dataset": "x", "backbone": "y", **needed.get(kind, {})}
            spec = read_spec(asked).completed(sections).model_dump(mode="json")
            for section, values in sections.items():
                for name, value in values.items():
                    assert spec[section][name] == value


@pytest.mark.parametrize(
    ("name", "size", "refused"),
    [
        ("lenet5", 28, False),
        ("lenet5", 30, True),
        ("vgg11", 8, False),
        ("vgg11", 7, True),
        ("vgg11", 225, True),
        ("inception_v3", 64, True),
        ("inception_v3", 96, False),
        ("maxvit_t", 96, True),
    ],
)
def test_a_backbone_says_which_sizes_it_takes(
    catalogue: Catalogue, name: str, size: int, *, refused: bool
) -> None:
    told = catalogue.backbones[name].stems["standard"].refusal(size)
    assert (told is not None) == refused
    assert told is None or f"got {size}" in told


def test_what_a_spec_says_is_kept_where_there_is_a_default() -> None:
    spec = read_spec({"dataset": "x", "backbone": "y", "optim": {"batch": 7}})
    completed = spec.completed({"optim": {"batch": 64, "momentum": 0.5}})
    assert isinstance(completed, GrowSpec)
    assert (completed.optim.batch, completed.optim.momentum) == (7, 0.5)


@pytest.mark.parametrize(
    ("name", "asked", "size", "meant"),
    [
        ("resnet18", "auto", 63, "small"),
        ("resnet18", "auto", 64, "standard"),
        ("resnet18", "small", 96, "small"),
        ("resnet18", "standard", 32, "standard"),
        ("vgg11", "auto", 28, "standard"),
    ],
)
def test_auto_means_the_stem_that_a_worker_takes(
    catalogue: Catalogue, name: str, asked: str, size: int, meant: str
) -> None:
    assert catalogue.backbones[name].stem(asked, size) == meant
    assert backbones.stem_of(name, asked, size) == meant
