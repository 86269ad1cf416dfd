import pytest

from service.catalogue import Catalogue
from service.contract import JobSpec


def test_every_layer_reads_and_makes_groups_that_there_are(catalogue: Catalogue) -> None:
    for backbone in catalogue.backbones.values():
        groups = {None, *backbone.standard_widths}
        assert {layer.reads for layer in backbone.layers} <= groups
        assert {layer.makes for layer in backbone.layers} == groups


def test_defaults_are_fields_of_a_spec_and_in_their_range(catalogue: Catalogue) -> None:
    every = [dataset.defaults for dataset in catalogue.datasets.values()]
    for defaults in [*every, catalogue.folder_defaults]:
        spec = JobSpec(dataset="x", backbone="y").completed(defaults)
        for section, values in defaults.items():
            for name, value in values.items():
                assert getattr(getattr(spec, section), name) == value


@pytest.mark.parametrize(
    ("name", "size", "refused"),
    [
        ("lenet5", 28, False),
        ("lenet5", 30, True),
        ("vgg11", 8, False),
        ("vgg11", 7, True),
        ("vgg11", 225, True),
    ],
)
def test_a_backbone_says_which_sizes_it_takes(
    catalogue: Catalogue, name: str, size: int, *, refused: bool
) -> None:
    told = catalogue.backbones[name].refusal(size)
    assert (told is not None) == refused
    assert told is None or f"got {size}" in told


def test_what_a_spec_says_is_kept_where_there_is_a_default() -> None:
    spec = JobSpec.model_validate({"dataset": "x", "backbone": "y", "optim": {"batch": 7}})
    completed = spec.completed({"optim": {"batch": 64, "momentum": 0.5}})
    assert (completed.optim.batch, completed.optim.momentum) == (7, 0.5)
