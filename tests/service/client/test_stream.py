from service.client.stream import Event, parse


def test_events_come_with_id_type_and_data() -> None:
    lines = ["event: grew", "id: 7", 'data: {"layer": 2}', ""]
    assert list(parse(lines)) == [Event(id=7, type="grew", data={"layer": 2})]


def test_data_over_several_lines_is_one_document() -> None:
    (event,) = parse(["id: 1", 'data: {"a":', "data: 1}", ""])
    assert event.data == {"a": 1}


def test_comments_and_an_unfinished_event_are_passed_over() -> None:
    assert list(parse([": still here", "", "id: 1", "data: {}"])) == []


def test_a_value_without_a_space_behind_the_colon_is_read() -> None:
    (event,) = parse(["id:3", "data:{}", ""])
    assert (event.id, event.type) == (3, "message")
