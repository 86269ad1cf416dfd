from service.jobs.groups import setting, widths_of_growth
from service.spec.by_group import GrowthStage
from service.spec.growth import GrowthSpec
from worker.training.config import GrowthConfig
from worker.training.groups import by_group
from worker.training.recipes.begin import start_widths

GROUPS = {"conv1": 64, "conv2": 128, "conv3": 256}
GROWTH = GrowthSpec(
    start={"conv2": 9},
    threshold=0.7,
    min_width=4,
    max_width=32,
    exclude=["conv3"],
    stages={
        "conv*": GrowthStage(start=3, threshold=0.6, max_width=20),
        "conv1": GrowthStage(max_width=10),
    },
)


def test_the_service_and_the_worker_resolve_the_same_settings() -> None:
    config = GrowthConfig(**GROWTH.model_dump(exclude_none=True))
    for name in ("start", "threshold", "min_width", "max_width"):
        ours = setting(name, getattr(GROWTH, name), GROWTH.stages, GROUPS)
        assert ours == by_group(name, getattr(config, name), config, GROUPS)
    assert widths_of_growth(GROWTH, GROUPS)[0] == dict(start_widths(config, GROUPS))
    auto = GrowthSpec(start="auto", min_width={"conv3": 9})
    assert widths_of_growth(auto, GROUPS)[0] == dict(
        start_widths(GrowthConfig(min_width={"conv3": 9}), GROUPS)
    )


def test_the_widths_at_first_and_at_most_follow_stages_least_widths_and_exclusion() -> None:
    first, most = widths_of_growth(GROWTH, GROUPS)
    assert first == {"conv1": 4, "conv2": 9, "conv3": 4}
    assert most == {"conv1": 10, "conv2": 20, "conv3": 4}
    _, standard = widths_of_growth(GrowthSpec(start=80), GROUPS)
    assert standard == {"conv1": 80, "conv2": 128, "conv3": 256}
